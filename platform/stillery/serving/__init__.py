"""The application behind the endpoint: gateway, registry following, web page."""
