"""LCS's custom profile: a Python module of the operator's, with system prompts by name."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from agent.errors import SettingsError
from agent.settings.lcs import CustomProfile
from agent.settings.settings import Settings

_NAME = "llamastack_a2a_profile"


def with_profile(settings: Settings) -> Settings:
    """Run the module of ``custom_profile`` or ``profile_path``, which wins; raises ``SettingsError``."""
    custom = settings.customization
    if custom.profile_path is not None:
        key, profile = "profile_path", CustomProfile(path=custom.profile_path)
    elif custom.custom_profile is not None:
        key, profile = "custom_profile.path", custom.custom_profile
    else:
        return settings
    try:
        prompts = _prompts_of(_content(profile.path))
    except ValueError as exc:
        raise SettingsError(f"customization.{key}", f"{profile.path} {exc}") from exc.__cause__
    profile = profile.model_copy(update={"prompts": profile.prompts | prompts})
    custom = custom.model_copy(update={"custom_profile": profile})
    return settings.model_copy(update={"customization": custom})


def _content(path: Path) -> Any:
    """Return ``PROFILE_CONFIG``. The module is known to nobody else, and is run once."""
    loader = SourceFileLoader(_NAME, str(path))
    spec = spec_from_loader(_NAME, loader)
    if spec is None:  # for loaders without a name
        raise ValueError("cannot be loaded")
    module = module_from_spec(spec)
    try:
        loader.exec_module(module)
    except (OSError, UnicodeDecodeError, SyntaxError) as exc:
        raise ValueError("cannot be read as a Python module") from exc
    except (Exception, SystemExit) as exc:  # it is anybody's code
        raise ValueError(f"cannot be run: it raises {type(exc).__name__}") from exc
    return getattr(module, "PROFILE_CONFIG", None)


def _prompts_of(content: Any) -> dict[str, str]:
    prompts = content.get("system_prompts") if isinstance(content, dict) else None
    if not isinstance(prompts, dict):
        raise ValueError(  # noqa: TRY004 - told as a problem of the settings
            'must have PROFILE_CONFIG = {"system_prompts": {"default": "..."}}'
        )
    if not all(isinstance(text, str) for pair in prompts.items() for text in pair):
        raise ValueError("must have texts by name in system_prompts")
    return dict(prompts)
