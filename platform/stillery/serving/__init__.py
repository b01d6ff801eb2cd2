"""The serving application: gateway, registry following, web page."""
