"""The sign-on form: plain HTML that works before anything else of the console is loaded."""

from html import escape

from cardserver.console.access import Language
from cardserver.console.desk import ConsoleDesk
from cardserver.console.words import word

_PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh;
  display: grid; place-items: center; }}
form {{ width: 20rem; display: grid; gap: 0.75rem; padding: 2rem; }}
h1 {{ font-size: 1.25rem; margin: 0; }}
p {{ margin: 0; }}
label {{ display: grid; gap: 0.25rem; }}
input, button {{ font: inherit; padding: 0.5rem; }}
[role=alert] {{ color: #c62828; }}
@media (prefers-color-scheme: dark) {{ [role=alert] {{ color: #ff8a80; }} }}
</style>
</head>
<body>
<form method="post" action="/sign-on?language={language}">
<h1>{fund}</h1>
<p>{title} · <a href="/sign-on?language={other}">{other_name}</a></p>
{refusal}
<label>{operator}
<input name="operator" maxlength="20" autocomplete="username" required autofocus></label>
<label>{password}
<input name="password" type="password" maxlength="128" autocomplete="current-password" required>
</label>
<button>{sign_on}</button>
</form>
</body>
</html>
"""


def sign_on_page(desk: ConsoleDesk, language: Language, *, refusal: str = "") -> str:
    """Write the form, with why the last attempt was refused."""
    fund = desk.config.fund
    is_zh = language is Language.ZH
    texts = {
        "lang": "zh-CN" if is_zh else "en",
        "language": language.value,
        "other": (Language.EN if is_zh else Language.ZH).value,
        "other_name": word("language", language),
        "fund": fund.name_zh if is_zh else fund.name_en,
        "title": word("title", language),
        "operator": word("operator", language),
        "password": word("password", language),
        "sign_on": word("sign_on", language),
    }
    alert = f'<p role="alert">{escape(word(refusal, language))}</p>' if refusal else ""
    return _PAGE.format(refusal=alert, **{name: escape(text) for name, text in texts.items()})
