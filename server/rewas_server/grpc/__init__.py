"""The gRPC server: its application, service and security."""
