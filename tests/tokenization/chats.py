"""Chat templates of the kinds in use, and conversations, tools and documents to render with them."""

from __future__ import annotations

from typing import Any

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = """{% if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] -%}
    {%- set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' -%}
{% else %}
    {%- set loop_messages = messages -%}{%- set system = '' -%}
{% endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- set content = system + message['content'] if loop.index0 == 0 else message['content'] -%}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' '  + content.strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""
GENERATION = (
    "{% for message in messages %}<|{{ message.role }}|>{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}{% else %}{{ message['content'] }}"
    "{% endif %}{% endfor %}"
)
MISTRAL_TOOLS = """{%- set user_messages = messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}
                    {%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {{- tool_call.function|tojson }}{%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}{{- "]" + eos_token }}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + "}[/TOOL_RESULTS]" }}
    {%- endif %}
{%- endfor %}"""
DOCUMENTS = """{{ bos_token }}{% for document in documents or [] %}
Document: {{ loop.index0 }}
{% for key, value in document.items() %}{{ key }}: {{ value }}
{% endfor %}{% endfor %}
{%- for message in messages %}<|{{ message['role'] | upper }}|>{{ message['content'] | trim }}{% endfor %}
{%- if add_generation_prompt %}<|CHATBOT|>{% endif %}"""
HERMES = """{%- macro kind(spec) %}{%- if spec.type is string %}{{- spec.type }}
{%- else %}{{- spec.type | join('|') }}{%- endif %}{%- endmacro %}
{%- if tools %}<tools>{% for tool in tools %}
{{ tool | tojson(indent=2, sort_keys=True) }}
{%- for name, spec in tool.function.parameters.properties.items() %} {{ name }}:{{ kind(spec) }}{% endfor %}
{%- endfor %}</tools>{% endif %}
{%- set ns = namespace(count=0, names=[]) %}
{%- for message in messages %}
{%- if message.role == 'system' %}{% continue %}{% endif %}
{%- set ns.count = ns.count + 1 %}
{%- if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}
{{- message.role ~ ns.count ~ ': ' ~ (message.content or '') }}
{%- if ns.count > 3 %}{% break %}{% endif %}
{%- endfor %}{{ strftime_now('%') | length }}{{ custom | default('none') }}"""

TEMPLATES = {
    "chatml": CHATML,
    "llama_2": LLAMA_2,
    "generation": GENERATION,
    "mistral_tools": MISTRAL_TOOLS,
    "documents": DOCUMENTS,
    "hermes": HERMES,
}

USER = {"role": "user", "content": "What is 2 + 2?  "}
ANSWER = {"role": "assistant", "content": "It is <b>4</b> & 'four'. 日本 "}
SYSTEM = {"role": "system", "content": "Be brief.\n"}
THINKING = {"role": "assistant", "content": "4", "reasoning": "two and two"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "é": [1.5, None, True]}}}
    ],
}
RESULT = {"role": "tool", "name": "add", "content": "4"}
CHATS: dict[str, list[dict[str, Any]]] = {
    "one": [USER],
    "two": [USER, ANSWER],
    "system": [SYSTEM, USER, ANSWER, USER],
    "thinking": [USER, THINKING],
    "tools": [USER, CALL, RESULT, ANSWER, USER],
    "wrong order": [ANSWER, USER],
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds <two> numbers & more",
            "parameters": {
                "type": "object",
                "properties": {
                    "b": {"type": "integer"},
                    "a": {"type": ["number", "null"], "description": "é"},
                },
                "required": ["a"],
            },
        },
    }
]
DOCUMENT_LIST = [{"title": "One", "text": "A text."}, {"title": "Zwei", "text": "Ein Text — mit Strich."}]

HOSTILE = {
    "attribute": "{{ messages.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "format": "{{ '{0.__class__}'.format(messages) }}",
    "append": "{% set _ = messages.append(1) %}",
    "setattr": "{% set ns = namespace(__class__=1) %}",
    "dict": "{{ dict.__init__ }}",
    "undefined": "{{ messages[0].nothing.more }}",
    "syntax": "{% for message in messages %}",
    "raise": "{{ raise_exception('no') }}",
    "type": "{{ messages + 'a' }}",
    "range": "{% for i in range(10 ** 9) %}{{ i }}{% endfor %}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
    "zero": "{{ 1 // 0 }}",
    "lipsum": "{{ cycler.__init__.__globals__.os }}",
}
