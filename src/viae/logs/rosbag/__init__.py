"""ROS bags: ``.bag`` of ROS 1, ``.db3`` and bag folders of ROS 2."""
