// An exported ONNX folder in the browser: its own tokenizer, chat template, graph and end tokens, decoded greedily.

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;

async function read(folder, name, as) {
  const response = await fetch(`${folder}/${name}`);
  if (!response.ok) {
    throw new Error(`${name}: ${response.status} ${response.statusText}`);
  }
  return response[as]();
}

/** Load a folder that `stillery export --format onnx` wrote; every file of it is fetched here, once. */
export async function loadModel(folder) {
  const [config, tokenizerJson, tokenizerConfig, template, graph, weights] = await Promise.all([
    read(folder, "genai_config.json", "json"),
    read(folder, "tokenizer.json", "json"),
    read(folder, "tokenizer_config.json", "json"),
    read(folder, "chat_template.jinja", "text"),
    read(folder, "model.onnx", "arrayBuffer"),
    read(folder, "model.onnx.data", "arrayBuffer"),
  ]);
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    externalData: [{ path: "model.onnx.data", data: weights }],
  });
  return new Model(session, config.model, new Tokenizer(tokenizerJson, tokenizerConfig), new Template(template));
}

class Model {
  constructor(session, config, tokenizer, template) {
    this.session = session;
    this.decoder = config.decoder;
    this.contextLength = config.context_length;
    this.endTokens = new Set([config.eos_token_id].flat());
    this.tokenizer = tokenizer;
    this.template = template;
  }

  /** The prompt's tokens: the chat template around the question, nothing added. */
  tokenize(question) {
    const messages = [{ role: "user", content: question }];
    const prompt = this.template.render({ messages, add_generation_prompt: true });
    return this.tokenizer.encode(prompt, { add_special_tokens: false }).ids;
  }

  /** Decode greedily; the end token, if one came, is the last. */
  async generate(prompt, maxNewTokens) {
    const limit = Math.min(maxNewTokens, this.contextLength - prompt.length);
    const answer = [];
    let cache = this.emptyCache();
    let tokens = prompt;
    while (answer.length < limit) {
      const length = prompt.length + answer.length;
      const outputs = await this.session.run({
        input_ids: integers(tokens),
        attention_mask: integers(new Array(length).fill(1)),
        ...cache,
      });
      const token = lastArgmax(outputs.logits);
      answer.push(token);
      if (this.endTokens.has(token)) {
        break;
      }
      cache = this.cacheFrom(outputs);
      tokens = [token];
    }
    return answer;
  }

  /** The text of an answer without its end token. */
  decode(answer) {
    return this.tokenizer.decode(
      answer.filter((token) => !this.endTokens.has(token)),
      { skip_special_tokens: false },
    );
  }

  cacheNames() {
    const { inputs, outputs, num_hidden_layers } = this.decoder;
    const pairs = [
      [inputs.past_key_names, outputs.present_key_names],
      [inputs.past_value_names, outputs.present_value_names],
    ];
    const layers = Array.from({ length: num_hidden_layers }, (_, layer) => layer);
    return layers.flatMap((layer) => pairs.map(([past, present]) => [past, present].map((name) => name.replace("%d", layer))));
  }

  emptyCache() {
    const shape = [1, this.decoder.num_key_value_heads, 0, this.decoder.head_size];
    return Object.fromEntries(this.cacheNames().map(([past]) => [past, new ort.Tensor("float32", new Float32Array(), shape)]));
  }

  cacheFrom(outputs) {
    return Object.fromEntries(this.cacheNames().map(([past, present]) => [past, outputs[present]]));
  }
}

function integers(values) {
  return new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

/** The most likely token after the last position of logits of shape (1, positions, vocabulary). */
function lastArgmax(logits) {
  const [, positions, vocabulary] = logits.dims;
  const last = logits.data.subarray((positions - 1) * vocabulary, positions * vocabulary);
  return last.reduce((best, value, token) => (value > last[best] ? token : best), 0);
}
