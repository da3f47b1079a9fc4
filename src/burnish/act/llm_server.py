"""A Hugging Face language model behind the chat API: for planning offline, with a real model, on one's own machine.

One request at a time has the model; the others wait in the order in which they came. Tokens are streamed one by one,
and nothing is generated for a client that has gone. A JSON schema is kept to exactly: at every step only those tokens
can be chosen that lead to an answer of it (llguidance), so that even a very small model's answer is a valid call.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from burnish.act.chat_api import BadRequest, ChatRequest
from burnish.core.errors import UserError
from burnish.core.packages import Need, require

CHUNK = 256  # prompt tokens read at once: between two chunks a request can be given up
# An answer must come to its end within `max_tokens`: what a schema leaves without bounds gets these.
LONGEST_TEXT, MOST_ITEMS, LARGEST = 120, 8, 9999


def bounded(schema: Any) -> Any:
    """A JSON schema that is narrower than the given one: all of its answers are of limited length.

    Texts, lists and numbers without bounds of their own get some, and numbers are whole.
    """
    if isinstance(schema, list):
        return [bounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # The values of these keys are data, not schemas.
    found = {key: value if key in ("const", "enum", "default") else bounded(value) for key, value in schema.items()}
    kind = found.get("type")
    if kind == "string" and not {"pattern", "format", "enum", "const"} & found.keys():
        found.setdefault("maxLength", LONGEST_TEXT)
    elif kind == "array":
        found.setdefault("maxItems", max(MOST_ITEMS, found.get("minItems", 0)))
    elif kind in ("integer", "number") and not {"enum", "const"} & found.keys():
        found["type"] = "integer"
        if not {"minimum", "exclusiveMinimum"} & found.keys():
            found["minimum"] = -LARGEST
        if not {"maximum", "exclusiveMaximum"} & found.keys():
            found["maximum"] = max(LARGEST, int(found.get("minimum", 0)) + LARGEST)
    return found


class LanguageModel:
    """A causal language model as a chat back end (see :class:`burnish.act.chat_api.Backend`).

    Args:
        model: of transformers, in evaluation mode.
        tokenizer: its fast tokenizer, with a chat template.
        name: what clients call it.

    Raises:
        UserError: the tokenizer has no chat template, or is none of the fast ones.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        if not tokenizer.is_fast:
            raise UserError(f"{name}: its tokenizer is not a fast one (no tokenizer.json)")
        if tokenizer.chat_template is None:
            raise UserError(f"{name}: its tokenizer has no chat template; take a model that was tuned to chat")
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._turn = anyio.Lock()  # first come, first served
        self._grammars: Any = None
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        # Called so by transformers 5.24; before, by the other name.
        renamed = "cache" in inspect.signature(model.forward).parameters
        self._cache = "cache" if renamed else "past_key_values"
        self._context = getattr(model.config, "max_position_embeddings", None)

    def count(self, messages: Sequence[Mapping[str, str]]) -> int:
        """Tokens of the prompt, chat template included.

        Raises:
            BadRequest: the prompt leaves no room for an answer.
        """
        return len(self._encode(messages))

    async def answer(self, messages: Sequence[Mapping[str, str]], asked: ChatRequest) -> AsyncIterator[str]:
        """The answer, one piece of text a token; the end mark is none.

        Raises:
            BadRequest: the schema cannot be kept to.
        """
        from tokenizers.decoders import DecodeStream

        ids = self._encode(messages)
        most = asked.max_tokens if self._context is None else min(asked.max_tokens, self._context - len(ids))
        async with self._turn:
            choose = await anyio.to_thread.run_sync(self._chooser, asked)
            text = DecodeStream(skip_special_tokens=True)
            cache: Any = None
            for start in range(0, len(ids), CHUNK):
                logits, cache = await anyio.to_thread.run_sync(self._forward, ids[start : start + CHUNK], cache)
            for number in range(most):
                token = choose(logits)
                if token is None or token in self._ends:
                    return
                yield text.step(self._tokenizer.backend_tokenizer, token) or ""
                if number < most - 1:
                    logits, cache = await anyio.to_thread.run_sync(self._forward, [token], cache)

    def _encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if self._context is not None and len(ids) >= self._context:
            raise BadRequest(
                f"the prompt has {len(ids)} tokens, and {self.name} can take {self._context} with the answer"
            )
        return ids

    def _forward(self, ids: Sequence[int], cache: Any) -> tuple[Any, Any]:
        """The logits [vocabulary] after these tokens, and the cache."""
        import torch

        with torch.inference_mode():
            out = self._model(
                input_ids=torch.tensor([list(ids)], device=self._model.device),
                use_cache=True,
                logits_to_keep=1,
                **{self._cache: cache},
            )
        return out.logits[0, -1].float(), out[self._cache]

    def _chooser(self, asked: ChatRequest) -> Callable[[Any], int | None]:
        """From logits to the next token; ``None`` when a schema's answer is complete."""
        import torch

        draw = torch.Generator().manual_seed(0)

        def sample(logits: Any) -> int:
            if asked.temperature == 0:
                return int(logits.argmax())
            chances = (logits.cpu() / asked.temperature).softmax(-1)
            return int(torch.multinomial(chances, 1, generator=draw))

        if asked.json_schema is None:
            return sample
        matcher = self._matcher(asked.json_schema)

        def allowed(logits: Any) -> int | None:
            if matcher.is_stopped():
                return None
            packed = torch.frombuffer(bytearray(matcher.compute_bitmask()), dtype=torch.uint8)
            bits = packed[:, None].bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and(1).flatten()
            possible = bits[: logits.shape[0]].bool().to(logits.device)
            token = sample(logits.masked_fill(~possible, float("-inf")))
            matcher.consume_token(token)
            return token

        return allowed

    def _matcher(self, schema: Mapping[str, Any]) -> Any:
        import llguidance
        import llguidance.hf

        try:
            if self._grammars is None:
                self._grammars = llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=self._model.config.vocab_size)
            # Without white space between tokens a model cannot write blanks for ever.
            grammar = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(bounded(schema)), overrides={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise BadRequest(f"response_format: {self.name} cannot be held to a JSON schema ({error})") from None
        matcher = llguidance.LLMatcher(self._grammars, grammar, log_level=0)
        if matcher.is_error():
            raise BadRequest(f"response_format: this JSON schema cannot be kept to ({matcher.get_error()[:200]})")
        return matcher


def load_language_model(model: str | Path, device: str = "cpu") -> LanguageModel:
    """A chat back end from a folder, an embedded model's name (`burnish model list`), or a hub id.

    Raises:
        UserError: it cannot be loaded, or is no chat model.
    """
    from burnish.core.models import load_model, load_tokenizer

    return LanguageModel(load_model(model, "CausalLM", device=device), load_tokenizer(model), str(model))


def serve_language_model(
    model: str | Path, host: str = "127.0.0.1", port: int = 8321, token: str | None = None, device: str = "cpu"
) -> None:
    """Serve a model until stopped; ``burnish act llm``.

    Raises:
        UserError: see :func:`burnish.core.serving.listen` and :func:`load_language_model`.
    """
    # before a model is loaded for nothing
    require("act: a language model's server", Need(("fastapi", "llguidance", "uvicorn"), "act"))
    from burnish.act.chat_api import chat_app
    from burnish.core.serving import address, listen, serve

    bound = listen(host, port, token)
    with bound:
        app = chat_app(load_language_model(model, device))
        print(f"{model} answers at {address(bound)}/v1 (stop with Ctrl-C)", flush=True)
        serve(app, bound, token)
