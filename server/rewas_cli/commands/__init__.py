"""The commands of `rewas`, one module each. They import torch, gRPC and OpenTimelineIO only when they run."""
