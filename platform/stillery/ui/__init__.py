"""`stillery ui`: run folders in a browser. It reads them and writes nothing."""
