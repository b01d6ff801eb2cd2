"""The application behind the endpoint: doors, registry following, web page."""
