"""Logging, set up once by whoever runs the process. Libraries and host applications keep their own."""

import logging
import sys
import traceback

import structlog


def configure_logging(*, quiet: bool = False) -> None:
    """Log to stderr: readable lines on a terminal, one JSON object a line otherwise. `quiet`: only warnings."""
    level = logging.WARNING if quiet else logging.INFO
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # These say every request and every run of a job at INFO.
    for chatty in ("apscheduler", "httpx", "stripe", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def traceback_of(error: BaseException) -> str:
    """Where an error came from, as text.

    Given to the log instead of the error itself: what a host application's logging makes of an error may show the
    values of variables, secrets among them, and takes long.
    """
    return "".join(traceback.format_exception(error))
