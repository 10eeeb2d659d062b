#!/usr/bin/env python3
"""Writes NAME.json beside every NAME.jinja: conversations, and what jinja2 renders of them with transformers' settings.

Run it after a template is added; needs the package jinja2. The C++ tests compare with what is written here.
"""
import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


def message(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [message("user", "Hi")],
    [message("system", "Be brief."), message("user", "Hi"), message("assistant", " Hello! \n"),
     message("user", "  2+2?  ")],
    [message("user", "q"), message("assistant", "<think>\nhmm\n</think>\n\nyes 🙂"), message("user", "不")],
    [message("user", "x"), message("user", "y")],
]


def raise_exception(text):
    raise jinja2.TemplateError(text)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: "01 Jan 1970"
environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)

for source in sorted(pathlib.Path(__file__).parent.glob("*.jinja")):
    template = environment.from_string(source.read_text())
    cases = []
    for messages in CONVERSATIONS:
        for prompt in (True, False):
            case = {"messages": messages, "add_generation_prompt": prompt}
            try:
                case["text"] = template.render(**case, bos_token="<s>", eos_token="</s>")
            except jinja2.TemplateError as error:
                case["error"] = str(error)
            cases.append(case)
    source.with_suffix(".json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
