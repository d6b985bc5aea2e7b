"""What we are compared with: a bare Flask application under the same gunicorn, with the same LangChain model object."""

import os

from flask import Flask, Response, jsonify, request

from llmapi.providers.gemini import Gemini
from llmapi.providers.transport import Transport

app = Flask(__name__)
CONSTANT = {
    "id": "req_01kexample0000000000000000",
    "output": {"text": "The sea is wide and deep. " * 8, "finish_reason": "stop", "parsed": None},
    "usage": {"input_tokens": 8, "output_tokens": 4, "total_tokens": 12},
}
chat = Gemini("AIzaSyFake", os.environ["BENCH_UPSTREAM"], transport=Transport())._our_client()
chat = chat.model_copy(update={"model": "fake"})


@app.post("/constant")
def constant() -> Response:
    return jsonify(CONSTANT)


@app.post("/langchain")
def langchain() -> Response:
    asked = request.get_json()
    message = chat.invoke([("human", asked["prompt"])], temperature=0.7, max_output_tokens=64)
    return jsonify({"text": message.text, "usage": message.usage_metadata})
