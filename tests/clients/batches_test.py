#!/usr/bin/env python3
"""/v1/files and /v1/batches with the openai package, and `heed run-batch` on the same lines."""
import io
import json
import pathlib
import tempfile

import openai
from server import BARD, Server, ServerCase, heed, main, wait_until

FOLDER = tempfile.TemporaryDirectory(prefix="heed_batches_")


def line(number, **body):
    body = {"model": BARD, "messages": [{"role": "user", "content": f"Speak of {number}."}], "max_tokens": 12,
            "temperature": 0, **body}
    return {"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def text_of(lines):
    return "".join(json.dumps(entry) + "\n" for entry in lines).encode()


class Batches(ServerCase):
    options = ("--data-dir", FOLDER.name)

    def upload(self, content):
        return self.client.files.create(file=("lines.jsonl", io.BytesIO(content)), purpose="batch")

    def finished(self, batch):
        return wait_until(lambda: (b := self.client.batches.retrieve(batch.id)).status in ("completed", "failed", "expired",
                                                                                          "cancelled") and b, "the batch to end")

    def lines(self, file_id):
        return [json.loads(text) for text in self.client.files.content(file_id).text.splitlines()]

    def test_files_are_kept_and_given_back(self):
        content = text_of([line(1)])
        file = self.upload(content)
        self.assertEqual((file.bytes, file.purpose, file.filename), (len(content), "batch", "lines.jsonl"))
        self.assertEqual(self.client.files.content(file.id).read(), content)
        self.assertIn(file.id, [f.id for f in self.client.files.list()])
        self.assertTrue(self.client.files.delete(file.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(file.id)

    def test_a_batch_answers_each_line_as_the_route_would(self):
        entries = [line(i) for i in range(20)]
        batch = self.client.batches.create(input_file_id=self.upload(text_of(entries)).id, endpoint="/v1/chat/completions",
                                           completion_window="24h", metadata={"who": "tests"})
        done = self.finished(batch)
        self.assertEqual((done.status, done.request_counts.completed, done.request_counts.failed), ("completed", 20, 0))
        self.assertEqual(done.metadata, {"who": "tests"})
        answers = {entry["custom_id"]: entry for entry in self.lines(done.output_file_id)}
        self.assertEqual(set(answers), {entry["custom_id"] for entry in entries})
        for entry in entries[:4]:
            direct = self.client.chat.completions.create(**entry["body"])
            told = answers[entry["custom_id"]]["response"]
            self.assertEqual(told["status_code"], 200)
            self.assertEqual(told["body"]["choices"][0]["message"]["content"], direct.choices[0].message.content)

    def test_lines_that_are_wrong_go_to_the_errors(self):
        entries = [line(1), line(2, temperature=-5), line(3, model="gpt-17")]
        done = self.finished(self.client.batches.create(input_file_id=self.upload(text_of(entries)).id,
                                                        endpoint="/v1/chat/completions", completion_window="24h"))
        self.assertEqual((done.request_counts.completed, done.request_counts.failed), (1, 2))
        errors = {entry["custom_id"]: entry for entry in self.lines(done.error_file_id)}
        self.assertEqual(set(errors), {"id-2", "id-3"})

    def test_a_file_that_is_no_batch_fails_as_one(self):
        file = self.upload(b"this is no JSON\n")
        try:
            done = self.finished(self.client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions",
                                                            completion_window="24h"))
        except openai.BadRequestError:
            return
        self.assertEqual(done.status, "failed")
        self.assertTrue(done.errors.data)

    def test_a_batch_can_be_cancelled(self):
        entries = [line(i, max_tokens=1500, ignore_eos=True) for i in range(50)]
        batch = self.client.batches.create(input_file_id=self.upload(text_of(entries)).id, endpoint="/v1/chat/completions",
                                           completion_window="24h")
        self.assertIn(self.client.batches.cancel(batch.id).status, ("cancelling", "cancelled"))
        done = self.finished(batch)
        self.assertEqual(done.status, "cancelled")

    def test_run_batch_writes_the_same_answers(self):
        folder = pathlib.Path(FOLDER.name)
        entries = [line(i) for i in range(6)]
        (folder / "in.jsonl").write_bytes(text_of(entries))
        heed("run-batch", BARD, "-i", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"))
        answers = {entry["custom_id"]: entry for entry in map(json.loads, (folder / "out.jsonl").read_text().splitlines())}
        for entry in entries:
            direct = self.client.chat.completions.create(**entry["body"])
            self.assertEqual(answers[entry["custom_id"]]["response"]["body"]["choices"][0]["message"]["content"],
                             direct.choices[0].message.content)


class Restart(ServerCase):
    options = ("--data-dir", FOLDER.name + "/restart")

    def test_a_killed_server_goes_on_with_its_batch_and_loses_and_repeats_nothing(self):
        entries = [line(i, max_tokens=100, ignore_eos=True) for i in range(60)]
        file = self.client.files.create(file=("l.jsonl", io.BytesIO(text_of(entries))), purpose="batch")
        batch = self.client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        wait_until(lambda: self.client.batches.retrieve(batch.id).request_counts.completed >= 3, "the batch to be under way")
        self.server.process.kill()
        self.server.process.wait()
        type(self).server = Server(*self.options)
        client = self.server.openai()
        done = wait_until(lambda: (b := client.batches.retrieve(batch.id)).status == "completed" and b, "the batch to end")
        self.assertEqual((done.request_counts.completed, done.request_counts.failed), (60, 0))
        ids = [json.loads(text)["custom_id"] for text in client.files.content(done.output_file_id).text.splitlines()]
        self.assertEqual(sorted(ids), sorted(entry["custom_id"] for entry in entries))


if __name__ == "__main__":
    main()
