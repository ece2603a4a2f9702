"""The engine on other machines: replicas of a Ray Serve application, and the processes that talk to them."""
