"""The PyTorch model that tests/cuda times computes what the fixtures of the reference say."""

import json
import sys
import unittest
from pathlib import Path

import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cuda"))

import model as models  # noqa: E402


def fixtures():
    """Of causal CKM models, which are what is timed."""
    for path in sorted((ROOT / "train" / "tests" / "data").glob("model-ckm*.safetensors")):
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            if config["causal"]:
                yield path.stem, config, {name: file.get_tensor(name) for name in file.keys()}


def loaded(config, tensors):
    sizes = [config[name] for name in ("ndim", "fields", "dim", "heads", "blocks", "groups", "patch")]
    model = models.Model(*sizes)
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("param.")})
    return model


class Fixtures(unittest.TestCase):
    def close(self, found, expected, tolerance):
        self.assertEqual(found.shape, expected.shape)
        self.assertLess((found - expected).abs().max() / expected.abs().max(), tolerance)

    def test_outputs_losses_and_gradients(self):
        tried = 0
        for name, config, tensors in fixtures():
            model, frames = loaded(config, tensors), tensors["frames"]
            for patch in map(tuple, config["patches"]):
                tag = "p" + "x".join(map(str, patch))
                with self.subTest(name, patch=tag):
                    mean, deviation = models.statistics(frames[:-1])
                    with torch.no_grad():
                        output = model((frames[:-1] - mean) / deviation, patch)
                    self.close(output, tensors[f"{tag}.out"], 1e-5)
                    model.zero_grad()
                    loss = models.loss(model, frames, patch)
                    loss.backward()
                    self.close(loss.detach().reshape(1), tensors[f"{tag}.loss"], 1e-5)
                    weight = "embed.proj1.weight"
                    self.close(dict(model.named_parameters())[weight].grad, tensors[f"{tag}.grad.{weight}"], 1e-4)
                    tried += 1
        self.assertGreaterEqual(tried, 8)

    def test_the_next_frame(self):
        for name, config, tensors in fixtures():
            with self.subTest(name), torch.no_grad():
                context, patch = tensors["frames"][:-1], tuple(config["patches"][0])
                found = models.predict(loaded(config, tensors), context, patch)
                self.close(found, tensors["rollout"][:1], 1e-5)


if __name__ == "__main__":
    unittest.main()
