"""The portal: gRPC over one of a machine's virtio-serial ports, from the host's side."""
