"""Generation: the local engine and clients of remote endpoints.

Nothing is imported here, so that an endpoint can be used without loading torch.
"""
