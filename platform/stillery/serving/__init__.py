"""The serving application: gateway, registry follower, web page."""
