package compat

import (
	"math"

	"paceline/proxy/upstream"
)

// This file is the one table of the fields that SGLang's paths take (0.5.23; read from
// its request classes and its /openapi.json). Each path takes an object, and each object
// has a rule for each field. rules.go says what a rule means, and reader.go applies it.
//
// A field that is not here is one that SGLang ignores, and it passes. In a closed object,
// which SGLang takes apart without a check, an unknown field is refused.

// Bounds of the values.
const (
	maxWord       = 16 << 10 // bytes of names, ids, salts and stops
	maxGrammar    = 64 << 10 // bytes of a grammar or a schema in a string: far beyond what people write
	maxRepeats    = 1 << 12  // of {n,m} in a grammar: each may become a state of the automaton
	maxLength     = 1 << 16  // of a string or a list in a schema; a million took SGLang over 6 s to compile (0.5.23)
	maxTagRepeats = 1 << 8   // of a format of structural tags; 4096 took as long
	maxBias       = upstream.MaxLogitBias
	maxSamples    = 128     // answers of one prompt, as at OpenAI
	maxMessages   = 1 << 14 // a conversation of ten thousand turns
	maxTools      = 1 << 12
	maxParts      = 1 << 12 // parts of a message
	maxStops      = 32      // SGLang's own bound
	maxSamplerKey = 1 << 30 // SGLang's top_k for all
	maxRanks      = 1 << 16
	maxPatches    = 1 << 10
	maxLabels     = 255 // SGLang's own bound on the options of a question

	smallestFloat32    = 0x1p-126 // below it a float32 may become 0
	smallestRepetition = 1e-6     // logits are divided by it
)

// Rules that stand in many places.
var (
	ignored = rule{open: true, null: true}
	flag    = rule{boolean: true}
	word    = textOf(textRule{max: maxWord})
	blob    = textOf(textRule{}) // as long as the body: an image, a document
	prompt  = textOf(textRule{prompt: true})
	content = textOf(textRule{content: true})
	grammar = textOf(textRule{max: maxGrammar, grammar: true})

	id      = rule{number: &numberRule{whole: true, id: true}}
	ids     = listOf(id)
	count   = wholeFrom(0, math.MaxInt32)
	above0  = wholeFrom(1, math.MaxInt32)
	int32s  = wholeFrom(math.MinInt32, math.MaxInt32)
	seed    = wholeFrom(math.MinInt64, math.MaxInt64)
	most    = rule{number: &numberRule{whole: true, top: true}}
	samples = wholeFrom(1, maxSamples)

	temperature = floatFrom(0, math.MaxFloat32)
	probability = floatFrom(0, 1)
	portion     = floatFrom(smallestFloat32, 1)
	penalty     = floatFrom(-2, 2)
	repetition  = floatFrom(smallestRepetition, 2)
	topK        = rule{number: &numberRule{whole: true, min: -1, max: maxSamplerKey, notZero: true}}

	words    = listOf(word)
	prompts  = or(prompt, listOf(prompt))
	promptID = listOf(or(id, filled(ids)))
	inputs   = or(prompt, listOf(or(prompt, id, filled(ids)))) // text, ids, or a list of either
	stops    = or(word, bounded(words, maxStops))
	hidden   = or(flag, word) // a boolean, or "last"
	image    = or(blob, objectOf("image_data"))
	media    = or(image, listOf(or(image, listOf(image))))
	pictures = listOf(or(blob, objectOf("image")))
	turns    = filled(bounded(listOf(objectOf("message")), maxMessages))
	tools    = bounded(listOf(objectOf("tool")), maxTools)
	schema   = or(flag, objectOf("schema"), listOf(or(flag, objectOf("schema"))))
	thoughts = or(word, floatFrom(0, 1)) // an effort of reasoning

	scalar = nullable(or(flag, blob, floatFrom(-math.MaxFloat64, math.MaxFloat64)))

	// refused can end SGLang, which does not check it, or belongs to its own processes.
	refused = rule{open: true, null: true, gated: true}
)

// paths say which object a path takes. Paths that begin with it, too, where it ends in a
// slash.
var paths = map[string]string{
	"/generate": "generate", "/encode": "encode", "/classify": "encode", "/vertex_generate": "vertex",
	"/v1/completions": "completion", "/v1/chat/completions": "chat", "/invocations": "chat",
	"/v1/embeddings": "embedding", "/v1/classify": "classify", "/v1/score": "score", "/v1/rerank": "rerank",
	"/v1/responses": "responses", "/v1/responses/": "anything", "/v1/decisions": "decisions", "/v1/systemone": "systemone",
	"/v1/messages": "anthropic", "/v1/messages/count_tokens": "anthropic",
	"/api/chat": "ollama", "/api/generate": "ollama", "/api/show": "ollama",
	"/tokenize": "tokenize", "/v1/tokenize": "tokenize", "/detokenize": "detokenize", "/v1/detokenize": "detokenize",
	"/parse_function_call": "parse", "/separate_reasoning": "parse", "/abort_request": "abort",
}

// samplingFields are SGLang's own names of the sampling parameters, and the same
// elsewhere.
var samplingFields = fields{
	"temperature": temperature, "top_p": portion, "top_k": topK, "min_p": probability,
	"frequency_penalty": penalty, "presence_penalty": penalty, "repetition_penalty": repetition,
	"n": samples, "stop": stops, "stop_token_ids": ids, "stop_regex": refused, // run on the scheduler, in any time
	"logit_bias": objectOf("logit_bias"),
	"regex":      grammar, "ebnf": grammar, "json_schema": embedded("schema"),
	"ignore_eos": flag, "skip_special_tokens": flag, "no_stop_trim": flag,
	"custom_params": objectOf("custom_params"), "watermark": objectOf("watermark"),
}

// routingFields say which of SGLang's processes answers. Those of disaggregation make a
// server wait for another.
var routingFields = fields{
	"routed_dp_rank": wholeFrom(0, maxRanks), "data_parallel_rank": wholeFrom(0, maxRanks), "disagg_prefill_dp_rank": refused,
	"bootstrap_host": refused, "bootstrap_port": refused, "bootstrap_room": refused, "bootstrap_pair_key": refused, "decode_tp_size": refused,
}

// callFields stand beside the prompt on SGLang's own paths and on OpenAI's.
var callFields = join(routingFields, fields{
	"model": word, "user": word, "rid": or(word, words), "stream": flag, "stream_options": objectOf("stream_options"),
	"priority": int32s, "lora_path": or(word, listOf(nullable(word))), "extra_key": or(word, words), "cache_salt": or(word, words),
	"session_id": word, "session_params": objectOf("session"), "custom_labels": objectOf("labels"),
	"return_hidden_states": or(hidden, listOf(hidden)), "return_routed_experts": flag, "routed_experts_start_len": count,
	"return_cached_tokens_details": flag, "return_spec_tokens_details": flag, "return_token_ids": flag, "return_prompt_token_ids": flag,
	"return_sampling_mask": or(flag, listOf(flag)), "sampling_logprobs_mode": or(word, listOf(nullable(word))),
	"return_flat_raw_output_top_logprobs": flag, "return_flat_raw_top_logprobs_b64": flag,
	"max_dynamic_patch": wholeFrom(0, maxPatches), "min_dynamic_patch": wholeFrom(0, maxPatches), "use_audio_in_video": flag,
	"images_config": objectOf("images_config"), "video_config": refused, "mm_processor_kwargs": refused,
	"custom_logit_processor": refused, // a program
	"watermark":              objectOf("watermark"),
})

// openAIFields stand on the paths of OpenAI that generate.
var openAIFields = join(samplingFields, callFields, fields{
	"max_tokens": count, "min_tokens": count, "max_completion_tokens": count, "seed": seed,
	"response_format": objectOf("response_format"),
})

// nativeFields are those of /generate and /encode.
var nativeFields = join(callFields, fields{
	"text": prompts, "input_ids": promptID, "sampling_params": or(objectOf("sampling"), listOf(objectOf("sampling"))),
	"image_data": media, "video_data": media, "audio_data": media, "modalities": words,
	"mm_hashes": or(listOf(or(word, words))), "mm_content_hashes": listOf(nullable(or(word, listOf(nullable(word))))),
	"log_metrics": flag, "background": flag, "no_logs": flag, "routing_key": word, "conversation_id": word,
	"image_max_dynamic_patch": wholeFrom(0, maxPatches), "video_max_dynamic_patch": wholeFrom(0, maxPatches),
	"is_cross_encoder_request": flag, "dimensions": above0, "return_pooled_hidden_states": flag,

	// Tensors and positions, whose shape SGLang does not check.
	"input_embeds": refused, "positional_embed_overrides": refused, "embed_overrides": refused, "embed_override_token_id": refused,
	"multi_item_delimiter_indices": refused, "token_indices_to_pool": refused, "decision_layout": refused,
	// What its processes tell one another.
	"lora_id": refused, "http_worker_ipc": refused, "external_trace_header": refused, "received_time": refused, "kv_hints": refused,
	"need_wait_for_mm_inputs": refused, "num_items_assigned": refused, "encoder_urls": refused,
})

var generateFields = join(nativeFields, fields{
	"return_logprob": or(flag, listOf(flag)), "logprob_start_len": or(wholeFrom(-1, math.MaxInt32), listOf(wholeFrom(-1, math.MaxInt32))),
	"top_logprobs_num": or(most, listOf(most)), "token_ids_logprob": promptID,
	"return_text_in_logprobs": flag, "return_flat_raw_top_logprobs": flag, "return_indexer_topk": flag, "return_bytes": flag,
	"return_entropy": flag, "require_reasoning": flag, "max_thinking_tokens": count,
})

var chatFields = join(openAIFields, fields{
	"messages": turns, "tools": tools, "tool_choice": or(word, objectOf("anything")), "parallel_tool_calls": flag,
	"logprobs": flag, "top_logprobs": most, "input_ids": filled(ids),
	"return_meta_info": flag, "return_input_ids_in_sglext": flag, "return_output_ids_in_sglext": flag,
	"reasoning_effort": thoughts, "thinking": ignored, "task": word, "continue_final_message": flag,
	"separate_reasoning": flag, "stream_reasoning": flag, "chat_template_kwargs": objectOf("template"),
})

var imageFields = fields{
	"url": blob, "detail": word, "content_hash": word,
	"max_dynamic_patch": wholeFrom(0, maxPatches), "min_dynamic_patch": wholeFrom(0, maxPatches),
	"max_long_side_pixel": wholeFrom(1, maxRanks), "preprocess_kwargs": refused,
}

// objects are what paths and fields take, by name.
var objects = map[string]*object{
	"anything": {},
	"generate": {fields: generateFields},
	"sampling": {closed: true, fields: join(samplingFields, fields{
		"max_new_tokens": count, "min_new_tokens": count, "sampling_seed": seed, "beam_width": samples, "stream_interval": above0,
		"spaces_between_special_tokens": flag, "structural_tag": embedded("response_format"), "choice": refused,
	})},
	"encode": {fields: join(nativeFields, fields{"text": or(prompt, listOf(or(prompt, filled(listOf(prompt)))))})},
	"vertex": {fields: fields{
		"instances": {list: &listRule{of: objectOf("instance"), alike: true}}, "parameters": objectOf("vertex_parameters"),
		"rid": word, "http_worker_ipc": refused,
	}},
	"instance": {oneOf: []string{"text", "input_ids", "input_embeds"}, fields: fields{
		"text": prompt, "input_ids": filled(ids), "input_embeds": refused, "image_data": or(image, listOf(image)),
	}},
	"vertex_parameters": {closed: true, fields: generateFields},

	"completion": {fields: join(openAIFields, fields{
		"prompt": inputs, "suffix": content, "best_of": samples, "echo": flag, "logprobs": most,
	})},
	"chat": {fields: chatFields},
	"tokenize": {fields: join(chatFields, fields{
		"prompt": or(content, listOf(content)), "add_special_tokens": flag, "add_generation_prompt": flag,
	})},
	"embedding": {fields: join(callFields, fields{
		"input": or(prompt, listOf(or(prompt, id, filled(ids), objectOf("multimodal")))), "encoding_format": word, "dimensions": above0,
		"embed_override_token_id": refused, "embed_overrides": refused,
	})},
	"classify": {fields: join(callFields, fields{"input": inputs})},
	"score": {fields: fields{
		"query": inputs, "items": inputs, "label_token_ids": promptID, "apply_softmax": flag,
		"temperature": floatFrom(smallestRepetition, math.MaxFloat32), "return_token_logprobs": flag, "item_first": flag,
		"return_pooled_hidden_states": flag, "score_extraction_token": word, "model": word,
		"embed_override_token_id": refused, "query_embed_overrides": refused, "item_embed_overrides": refused,
	}},
	"rerank": {fields: fields{
		"query": or(prompt, bounded(listOf(objectOf("part")), maxParts)), "instruct": content, "top_n": above0, "return_documents": flag,
		"documents": listOf(or(prompt, bounded(listOf(objectOf("part")), maxParts))),
	}},
	"responses": {fields: join(openAIFields, fields{
		"input": or(prompt, bounded(listOf(objectOf("item")), maxMessages)), "instructions": content, "max_output_tokens": count,
		"max_tool_calls": count, "include": words, "metadata": ignored, "parallel_tool_calls": flag, "previous_response_id": word,
		"reasoning": objectOf("anything"), "service_tier": word, "store": flag, "background": flag, "text": objectOf("text_config"),
		"tool_choice": or(word, objectOf("anything")), "tools": tools, "top_logprobs": most, "truncation": word,
		"chat_template_kwargs": objectOf("template"), "request_id": word,
	})},
	"decisions": {fields: fields{
		"input": or(content, rule{open: true}), "images": pictures, "temperature": floatFrom(smallestRepetition, math.MaxFloat32),
		"questions": bounded(listOf(objectOf("question")), maxLabels), "chat_template_kwargs": objectOf("template"),
		"prompt_format_version": count, "return_prompt_token_ids": flag, "model": word,
	}},
	"systemone": {fields: fields{
		"state": or(content, rule{open: true}), "images": pictures, "model": word, "questions": ignored,
		"chat_template_kwargs": objectOf("template"),
	}},
	"anthropic": {fields: join(routingFields, fields{
		"model": word, "messages": turns, "max_tokens": count, "metadata": ignored, "stop_sequences": bounded(words, maxStops), "stream": flag,
		"system": or(content, listOf(objectOf("part"))), "thinking": objectOf("thinking"),
		"temperature": temperature, "top_k": topK, "top_p": portion,
		"tool_choice": objectOf("anything"), "tools": tools, "output_config": objectOf("output_config"), "betas": words,
	})},
	"ollama": {fields: fields{
		"model": word, "messages": turns, "prompt": content, "suffix": content, "system": content, "template": blob,
		"context": listOf(seed), "stream": flag, "raw": flag, "format": or(word, objectOf("schema")), "options": objectOf("ollama_options"),
		"keep_alive": or(floatFrom(-math.MaxFloat32, math.MaxFloat32), word), "images": listOf(blob), "think": or(flag, word),
	}},
	"ollama_options": {fields: fields{
		"temperature": temperature, "top_p": portion, "top_k": topK, "num_predict": count, "stop": stops,
		"presence_penalty": penalty, "frequency_penalty": penalty, "seed": seed,
	}},
	"detokenize": {fields: fields{"model": word, "tokens": or(listOf(or(count, listOf(count)))), "skip_special_tokens": flag}},
	"parse": {fields: fields{
		"text": blob, "tools": tools, "tool_call_parser": word, "reasoning_parser": word, "return_blocks": flag, "rid": word,
		"http_worker_ipc": refused,
	}},
	"abort": {fields: fields{
		"rid": word, "abort_all": flag, "abort_message": word, "finished_reason": refused, "weight_versions": refused, "http_worker_ipc": refused,
	}},

	// Parts of the above.
	"logit_bias": {tokenKeys: true, rest: floatFrom(-maxBias, maxBias)},
	"labels":     {rest: word},
	"custom_params": {fields: fields{
		"thinking_budget": count, "__sglang_reasoning_end_token_ids": refused, "__sglang_reasoning_in_grammar": refused,
	}, rest: or(scalar, listOf(scalar), objectOf("scalars"))}, // the types that its processes can tell one another
	"scalars":        {rest: scalar},
	"watermark":      {closed: true, fields: fields{"enabled": flag, "key": word, "context_window": wholeFrom(1, maxWord)}},
	"stream_options": {fields: fields{"include_usage": flag, "continuous_usage_stats": flag}},
	"session":        {closed: true, fields: fields{"id": word, "rid": word, "offset": count, "replace": flag, "drop_previous_output": flag}},
	"images_config":  {closed: true, fields: fields{"image_mode": word, "prefix": word}},
	"image":          {fields: imageFields}, "image_data": {closed: true, fields: imageFields},
	"multimodal": {fields: fields{"text": prompt, "image": blob, "video": blob}},
	"message": {fields: fields{
		"role": word, "content": or(content, bounded(listOf(objectOf("part")), maxParts)), "tool_call_id": word, "name": word, "phase": word,
		"reasoning_content": content, "tool_calls": bounded(listOf(objectOf("tool_call")), maxTools), "tools": tools, "prefix": flag,
		"images": listOf(blob),
	}},
	"part": {fields: fields{
		"type": word, "text": content, "thinking": content, "image_url": or(blob, objectOf("image")), "video_url": objectOf("video"),
		"audio_url": objectOf("anything"), "input_audio": objectOf("anything"), "modalities": word, "name": word,
	}},
	"video": {fields: fields{
		"url": blob, "max_dynamic_patch": wholeFrom(0, maxPatches), "min_dynamic_patch": wholeFrom(0, maxPatches),
		"fps": floatFrom(smallestRepetition, maxRanks), "max_frames": wholeFrom(1, maxRanks), "max_tokens_per_frame": wholeFrom(1, maxRanks),
		"max_image_tokens": wholeFrom(1, math.MaxInt32), "max_long_side_pixel": wholeFrom(1, maxRanks), "preprocess_kwargs": refused,
	}},
	"item":      {fields: fields{"role": word, "type": word, "text": content, "content": or(content, listOf(objectOf("part")))}},
	"tool_call": {fields: fields{"id": word, "index": int32s, "type": word, "function": objectOf("called")}},
	"called":    {fields: fields{"name": word, "arguments": or(content, objectOf("anything"))}},
	"tool": {fields: fields{
		"type": word, "function": objectOf("function"), "defer_loading": flag, "name": word, "description": content, "strict": flag,
		"parameters": or(objectOf("schema"), flag), "input_schema": objectOf("schema"), "max_uses": count,
	}},
	"function": {fields: fields{
		"description": content, "name": word, "parameters": or(objectOf("schema"), flag), "strict": flag, "defer_loading": flag,
	}},
	"text_config": {fields: fields{"format": objectOf("response_format"), "verbosity": word}},
	"response_format": {fields: fields{
		"type": word, "name": word, "description": content, "strict": flag, "schema": objectOf("schema"),
		"json_schema": objectOf("json_schema"), "structures": bounded(listOf(objectOf("structure")), maxTools),
		"triggers": bounded(words, maxTools), "at_least_one": flag, "format": objectOf("format"),
	}},
	"json_schema":   {fields: fields{"name": word, "description": content, "schema": objectOf("schema"), "strict": flag}},
	"structure":     {fields: fields{"begin": word, "end": word, "schema": objectOf("schema")}},
	"thinking":      {fields: fields{"type": word, "budget_tokens": count, "display": word}},
	"output_config": {fields: fields{"effort": word, "format": objectOf("response_format"), "task_budget": ignored}},
	"question": {fields: fields{
		"id": word, "type": word, "options": bounded(listOf(objectOf("anything")), maxLabels), "levels": bounded(listOf(ignored), maxLabels),
	}},

	// A program for SGLang to run is refused, and what it gives the template itself.
	"template": {fields: fields{"chat_template": refused, "tokenize": refused, "return_tensors": refused, "return_dict": refused,
		"tokenizer_kwargs": refused, "max_length": refused, "padding": refused}, rest: ignored},

	// A schema of JSON: what counts states of the automaton that it becomes is bounded.
	"schema": {fields: fields{
		"minLength": wholeFrom(0, maxRepeats), "maxLength": wholeFrom(0, maxLength), "minItems": wholeFrom(0, maxRepeats),
		"maxItems": wholeFrom(0, maxLength), "pattern": grammar,
		"minProperties": wholeFrom(0, maxRepeats), "maxProperties": wholeFrom(0, maxLength),
		"properties": objectOf("schemas"), "patternProperties": objectOf("schemas"),
		"$defs": objectOf("schemas"), "definitions": objectOf("schemas"),
		"items": schema, "prefixItems": schema, "additionalProperties": schema, "unevaluatedProperties": schema, "additionalItems": schema,
		"unevaluatedItems": schema, "contains": schema, "not": schema, "if": schema, "then": schema, "else": schema, "propertyNames": schema,
		"anyOf": schema, "oneOf": schema, "allOf": schema,
	}},
	"schemas": {rest: schema},
	// A format of structural tags, which may hold formats.
	"format": {closed: true, fields: fields{
		"type": word, "style": word, "value": content, "grammar": grammar, "pattern": grammar, "json_schema": or(flag, objectOf("schema")),
		"excludes": bounded(words, maxTools), "triggers": bounded(words, maxTools), "any_order": flag, "loop": flag, "at_least_one": flag,
		"stop_after_first": flag, "separator": word, "max_whitespace_cnt": wholeFrom(0, maxRepeats), "max_tokens": count, "max_chars": count,
		"min": wholeFrom(0, maxTagRepeats), "max": wholeFrom(-1, maxTagRepeats),
		"begin": or(word, objectOf("format")), "end": or(word, words, objectOf("format")), "content": objectOf("format"),
		"elements": bounded(listOf(objectOf("format")), maxTools), "tags": bounded(listOf(objectOf("format")), maxTools),
		"token": or(id, word), "trigger_tokens": listOf(or(id, word)), "exclude_tokens": listOf(or(id, word)),
		"rules": bounded(listOf(listOf(or(word, id, objectOf("format")))), maxTools),
	}},
}
