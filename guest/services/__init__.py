"""The portal's services, one module each, over grpclib.

A call that fails says so twice: with a gRPC status, and with an ErrorDetail in a trailer that names the exact reason.
"""
