"""jinja2 as Hugging Face transformers sets it up for chat templates: what Heed's own engine must equal."""
import copy
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = 1_754_006_400  # the same in tests/tools/render_templates.cpp


class GenerationBlock(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %}, which marks what the assistant said and renders it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_render")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _render(self, context, caller):
        return caller()


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def _strftime_now(format):
    return datetime.datetime.fromtimestamp(NOW).strftime(format)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, jinja2.ext.loopcontrols])
    env.filters["tojson"] = _tojson
    env.globals["raise_exception"] = _raise_exception
    env.globals["strftime_now"] = _strftime_now
    return env


def render(env, template, variables):
    """The text, or the exception that Python raised."""
    try:
        text = env.from_string(template).render(**copy.deepcopy(variables))  # `list|indent` changes the list
        text.encode("utf-8")
        return text, None
    except Exception as error:  # whatever it is, the other side must fail too
        return None, error
