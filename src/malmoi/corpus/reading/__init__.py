"""Files -> documents: for training (`readers`), and for a cleaning (`intake`), which also opens archives and tables."""
