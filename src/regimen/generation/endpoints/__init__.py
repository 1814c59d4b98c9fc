"""Clients of remote endpoints that speak the OpenAI protocol; no torch."""

from regimen.generation.endpoints.cache import ResponseCache as ResponseCache
from regimen.generation.endpoints.client import Endpoint as Endpoint
from regimen.generation.endpoints.client import EndpointGenerator as EndpointGenerator
from regimen.generation.endpoints.usage import Usage as Usage
