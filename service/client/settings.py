"""Where a client finds the service, from the environment."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClientSettings(BaseSettings):
    """Settings of `smearscan submit`, `rescan` and `batches`; options go before them."""

    model_config = SettingsConfigDict(env_prefix="SMEARSCAN_", frozen=True, extra="ignore")

    server: str = Field(
        default="http://127.0.0.1:8000", description="URL of the service that clients talk to."
    )
    key: SecretStr | None = Field(
        default=None, description="API key that clients send. Unset: none, which is refused."
    )
    patience_s: float = Field(
        default=10,
        ge=0,
        description="How long a client sends a request again when nobody answers, s. Something it"
        " watches already is asked about for 5 minutes.",
    )
