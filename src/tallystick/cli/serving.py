"""`tallystick serve`, and what its HTTP API looks like."""

import asyncio
import json

import uvicorn

from tallystick.cli.tables import text_console
from tallystick.cli.tuning import calm_garbage_collection
from tallystick.config import environment, load_settings
from tallystick.database.schema import require_current
from tallystick.domain.catalogue import Plan
from tallystick.logs import configure_logging
from tallystick.service import Tallystick
from tallystick.web.app import WebSettings, create_app
from tallystick.web.v1_document import openapi_document


def serve(host: str) -> None:
    """Run the service until it is stopped. Raises ConfigurationError or SchemaOutOfDate before it starts."""
    configure_logging()
    settings = load_settings(environment())
    asyncio.run(require_current(settings.database_url))
    credits = Tallystick(
        settings.database_url,
        plans=settings.catalogue.plans,
        packs=settings.catalogue.packs,
        stripe_secret_key=settings.stripe_secret_key,
        stripe_webhook_secrets=settings.stripe_webhook_secrets,
        stripe_api_base=settings.stripe_api_base,
        base_url=settings.base_url,
        remembered_accounts=settings.remembered_accounts,
    )
    app = create_app(credits, WebSettings(base_url=settings.base_url, secret_key=settings.secret_key))
    calm_garbage_collection()
    uvicorn.run(app, host=host, port=settings.port, log_config=None, access_log=False, server_header=False)


def print_openapi() -> None:
    """Print the OpenAPI description of /v1. It is the same for every catalogue, so it needs no settings."""
    document = openapi_document(Tallystick(plans=[Plan("free", 0)]))
    text_console().print(json.dumps(document, indent=1), soft_wrap=True)
