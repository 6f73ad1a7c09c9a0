#!/usr/bin/env python3
"""Pictures through the real `openai` and `anthropic` packages, against a small model that sees."""
import base64

import openai
from server import ROOT, Server, ServerCase, main

SEEING = ROOT / "tests" / "golden" / "gemma4_vision"
PICTURE = (SEEING / "picture0.png").read_bytes()
SOFT_TOKENS = 63  # of it
DATA = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


class Images(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--allowed-media-path", str(SEEING), "--limit-images-per-prompt", "2", model=str(SEEING))
        cls.client = cls.server.openai()
        cls.model = cls.server.model()

    def chat(self, parts, **more):
        return self.client.chat.completions.create(model=self.model, messages=[{"role": "user", "content": parts}],
                                                   max_tokens=4, temperature=0, **more)

    def shown(self, url, **more):
        return {"type": "image_url", "image_url": {"url": url, **more}}

    def refused(self, *parts):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(list(parts))
        return caught.exception

    def test_chat_completions_show_pictures(self):
        question = {"type": "text", "text": "What is this?"}
        answer = self.chat([self.shown(DATA), question])
        self.assertEqual(answer.usage.prompt_tokens_details.image_tokens, SOFT_TOKENS)
        counted = self.server.tokens([{"role": "user", "content": [self.shown(DATA), question]}])
        self.assertEqual(answer.usage.prompt_tokens, len(counted))
        self.assertGreater(len(counted), SOFT_TOKENS)
        again = self.chat([self.shown((SEEING / "picture0.png").as_uri()), question])
        self.assertEqual(again.choices[0].message.content, answer.choices[0].message.content)
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, SOFT_TOKENS)
        chunks = list(self.chat([self.shown(DATA), question], stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
                         answer.choices[0].message.content)
        self.assertEqual(chunks[-1].usage.prompt_tokens_details.image_tokens, SOFT_TOKENS)

    def test_responses_show_pictures(self):
        picture = {"type": "input_image", "image_url": DATA, "detail": "auto"}
        first = self.client.responses.create(model=self.model, max_output_tokens=4, temperature=0, input=[
            {"role": "user", "content": [picture, {"type": "input_text", "text": "What is this?"}]}])
        self.assertGreater(first.usage.input_tokens, SOFT_TOKENS)
        second = self.client.responses.create(model=self.model, max_output_tokens=4, temperature=0, input="And now?",
                                              previous_response_id=first.id)
        self.assertGreater(second.usage.input_tokens_details.cached_tokens, SOFT_TOKENS)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.responses.create(model=self.model, input=[{"role": "user", "content": [
                {"type": "input_image", "file_id": "file-1", "detail": "auto"}]}])
        self.assertEqual(caught.exception.param, "input[0].content[0].file_id")

    def test_messages_show_pictures(self):
        client = self.server.anthropic()
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
        messages = [{"role": "user", "content": [{"type": "image", "source": source},
                                                 {"type": "text", "text": "What is this?"}]}]
        counted = client.messages.count_tokens(model=self.model, messages=messages)
        answer = client.messages.create(model=self.model, max_tokens=4, messages=messages)
        usage = answer.usage
        self.assertEqual(usage.input_tokens + usage.cache_read_input_tokens, counted.input_tokens)
        self.assertGreater(counted.input_tokens, SOFT_TOKENS)

    def test_what_cannot_be_shown_is_refused(self):
        error = self.refused({"type": "text", "text": "x"}, self.shown("data:image/png;base64,aGVsbG8="))
        self.assertEqual((error.param, error.code), ("messages[0].content[1].image_url", "invalid_image"))
        self.assertEqual(self.refused(self.shown("https://example.com/cat.png")).code, "invalid_image_url")
        self.assertIn("--allowed-media-domains", self.refused(self.shown("https://example.com/cat.png")).message)
        outside = self.refused(self.shown((ROOT / "README.md").as_uri()))
        self.assertEqual(outside.code, "invalid_image_url")
        self.assertEqual(self.refused(*[self.shown(DATA)] * 3).code, "too_many_images")
        self.assertIn("no picture was given", self.refused({"type": "text", "text": "<|image|>"}).message)

    def test_the_model_tells_that_it_sees(self):
        self.assertEqual(self.client.models.list().data[0].input_modalities, ["text", "image"])


class TextOnly(ServerCase):
    def test_a_model_that_reads_text_refuses_pictures(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model=self.model, messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}])
        self.assertEqual(caught.exception.code, "unsupported_content")


if __name__ == "__main__":
    main()
