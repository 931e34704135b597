"""What an installation of the service may set, from the environment; built once at the root.

Every setting is `SMEARSCAN_` and its name in capitals. Each is described in docs/configuration.md.
"""

from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contract.record import Share

MIB: Final = 1 << 20
GIB: Final = 1 << 30


class ServiceSettings(BaseSettings):
    """Settings of every process of the service: api, reconciler, workers, model process, viewer."""

    model_config = SettingsConfigDict(env_prefix="SMEARSCAN_", frozen=True, extra="ignore")

    # where things are
    data: Path = Field(
        default=Path("smearscan-data"),
        description="Data directory: slides, results, and with no other settings the database and "
        "the queue. One service owns it at a time.",
    )
    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of a PostgreSQL database, e.g. "
        "`postgresql+psycopg://user:password@host/name`. Unset: SQLite in the data directory.",
    )
    redis_url: str | None = Field(
        default=None,
        description="URL of a Redis or Valkey server. Unset: an embedded Valkey in the data "
        "directory, started by `smearscan serve`.",
    )
    slide_roots: tuple[Path, ...] = Field(
        default=(),
        description="Directories whose files may be named in `slide_uri` and in batches, as a JSON "
        "list. Unset: none.",
    )
    s3_prefixes: tuple[str, ...] = Field(
        default=(),
        description="Prefixes (`s3://bucket/folder/`) whose objects may be named in `slide_uri`, "
        "as a JSON list; needs the `s3` extra, which `make setup` and the image bring. "
        "Unset: none.",
    )

    # the front
    host: str = Field(default="127.0.0.1", description="Address the api listens on.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port the api listens on.")
    public_url: str | None = Field(
        default=None,
        description="What clients call the service, e.g. `https://smearscan.hospital.example`; "
        "used in links of webhooks. Unset: made from host and port.",
    )
    api_processes: int = Field(
        default=1, ge=1, le=64, description="Processes that answer HTTP requests."
    )
    bootstrap_key: SecretStr | None = Field(
        default=None,
        description="Administrator's API key to install at the first start. Unset: one is made and "
        "printed once.",
    )
    rate_limit_per_minute: int = Field(
        default=60_000,
        ge=1,
        description="Requests a minute per API key, unless the key has its own limit; beyond it "
        "429 with `Retry-After`.",
    )
    max_body_bytes: int = Field(
        default=2 * MIB, ge=1024, description="Largest request body that is not a slide, bytes."
    )

    # intake
    max_slide_bytes: int = Field(
        default=40 * GIB, ge=1, description="Largest slide that is taken, bytes."
    )
    min_free_bytes: int = Field(
        default=2 * GIB,
        ge=0,
        description="Disk space that uploads must leave free for results, bytes; less answers "
        "`storage_full`.",
    )
    max_queued: int = Field(
        default=10_000,
        ge=1,
        description="Interactive scans that may wait; beyond it 503 with `Retry-After`. Batches "
        "wait in the database and do not count.",
    )
    max_uploads: int = Field(
        default=64,
        ge=1,
        description="Uploads taken at the same time; beyond it 503 with `Retry-After`.",
    )
    max_unfinished_uploads: int = Field(
        default=100,
        ge=1,
        description="Resumable uploads that one API key may have begun and not finished; beyond it "
        "429.",
    )
    upload_expires_h: float = Field(
        default=24, gt=0, description="Hours after which an unfinished resumable upload is removed."
    )

    # work
    viewer_url: str | None = Field(
        default=None,
        description="URL of a viewer process on another machine, e.g. `http://worker:9000`. Unset: "
        "this machine's, over a Unix socket.",
    )
    viewer_listen: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$",
        description="`host:port` on which this machine's viewer listens for an api elsewhere. It "
        "asks for no key: only a network that nobody but the api reaches may lead there. Unset: a "
        "Unix socket.",
    )
    workers: int = Field(
        default=1, ge=1, le=256, description="Slides analysed at the same time by one machine."
    )
    model: str = Field(
        default="default", description="Classifier that scans use unless they name one."
    )
    device: str | None = Field(
        default=None, description="Device of the networks, e.g. `cuda:0`. Unset: CUDA if present."
    )
    max_attempts: int = Field(
        default=4,
        ge=1,
        le=20,
        description="Times a slide is tried when failures may pass; ten times as often when "
        "the cause is a full disk or a missing model.",
    )
    retry_backoff_s: float = Field(
        default=2, ge=0, description="Wait before the second try, s; doubles with each further one."
    )
    timeout_base_s: float = Field(
        default=300, gt=0, description="Time a scan may take, whatever its slide's size, s."
    )
    timeout_per_gib_s: float = Field(
        default=600, ge=0, description="Further time a scan may take per GiB of its slide, s."
    )
    lost_after_s: float = Field(
        default=20,
        gt=2,
        description="A running scan without a sign of life for this long is tried again, s.",
    )
    archive_ahead: int = Field(
        default=64, ge=1, description="Scans of batches that stand in the queue at a time."
    )

    # keeping
    keep_originals_days: float = Field(
        default=30, ge=0, description="Days an uploaded slide is kept after its last scan ended."
    )
    keep_results_days: float = Field(
        default=365,
        ge=0,
        description="Days a scan with its results, a batch with its list of slides, and a webhook"
        " are kept after they ended.",
    )
    keep_patches: bool = Field(
        default=True, description="Keep a JPEG of every cell with the results."
    )

    # telling others
    webhook_hosts: tuple[str, ...] = Field(
        default=(),
        description="Host names that may be called back, as a JSON list. Unset: none.",
    )
    webhook_private: bool = Field(
        default=False,
        description="Whether a callback may go to a private, loopback or link-local address.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Key of the HMAC-SHA-256 signature of webhooks. Unset: made at the first start "
        "and kept in the data directory.",
    )
    webhook_attempts: int = Field(
        default=8, ge=1, description="Times a webhook is tried, with growing waits."
    )

    log_level: str = Field(default="INFO", description="Least severe log lines that are written.")
    max_tiles_failed_share: Share = Field(
        default=0.05, description="Share of a slide's tiles or cells that may be unreadable."
    )


def describe_wrong(err: ValidationError) -> str:
    """Which settings are wrong and why, in one line; never their values."""
    return "; ".join(
        f"SMEARSCAN_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}"
        for error in err.errors(include_input=False, include_url=False)
    )
