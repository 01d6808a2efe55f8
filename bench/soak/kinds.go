package main

// generating are the kinds for a model that generates.
func generating() []kind {
	return []kind{
		{"Prefill", 10, false, prefill},
		{"PrefillStream", 2, false, prefillStream},
		{"/v1/prefill", 4, false, restPrefill},
		{"Score", 3, false, score},
		{"ScoreStream", 2, false, scoreStream},
		{"/v1/paceline/score", 2, false, restScore},
		{"/generate, 0 or 1 new tokens", 6, false, asks("/generate", func(w *writer) object {
			return object{"text": w.state() + w.text(20), "sampling_params": object{"max_new_tokens": w.IntN(2)}, "return_logprob": true}
		})},
		{"/generate, a list", 3, false, asks("/generate", func(w *writer) object {
			prompts := make([][]int32, 2+w.IntN(6))
			for i := range prompts {
				prompts[i] = append(w.stateIDs(), w.ids(1+w.IntN(40))...)
			}
			return object{"input_ids": prompts, "sampling_params": object{"max_new_tokens": 1}}
		})},
		{"/generate, one of a list too long", 2, false, asks("/generate", func(w *writer) object {
			return object{"text": []string{w.text(50), tooLong(), w.text(60)}, "sampling_params": object{"max_new_tokens": 0}}
		})},
		{"/generate, generating", 5, true, asks("/generate", func(w *writer) object {
			return object{"text": w.state() + w.text(20), "sampling_params": object{"max_new_tokens": 16}}
		})},
		{"/generate, a stream", 4, true, asks("/generate", func(w *writer) object {
			return object{"input_ids": append(w.stateIDs(), w.ids(30)...), "sampling_params": object{"max_new_tokens": 16}, "stream": true}
		})},
		{"/v1/completions", 4, true, asks("/v1/completions", func(w *writer) object {
			return object{"model": "m", "prompt": w.state() + w.text(20), "max_tokens": 8, "stream": w.IntN(2) == 0}
		})},
		{"/v1/chat/completions", 5, true, asks("/v1/chat/completions", func(w *writer) object {
			return object{"model": "m", "max_tokens": 8, "stream": w.IntN(2) == 0, "messages": []object{
				{"role": "system", "content": w.state()}, {"role": "user", "content": w.text(30)},
			}}
		})},
		{"/v1/score", 4, true, asks("/v1/score", func(w *writer) object {
			if w.IntN(2) == 0 {
				return object{"query": w.stateIDs(), "items": [][]int32{w.ids(9), w.ids(20), w.ids(5)}, "label_token_ids": w.labels()}
			}
			return object{"query": w.state(), "items": []string{w.text(9), w.text(20)}, "label_token_ids": w.labels(), "apply_softmax": true}
		})},
		{"/v1/rerank", 2, true, asks("/v1/rerank", func(w *writer) object {
			return object{"query": w.state(), "documents": []string{w.text(9), w.text(20), w.text(5)}, "top_n": 2}
		})},
		{"/v1/decisions", 2, true, asks("/v1/decisions", func(w *writer) object {
			return object{"input": w.state(), "questions": []object{
				{"id": "a", "type": "yes_no", "question": w.text(9)}, {"id": "b", "type": "yes_no", "question": w.text(20)},
			}}
		})},
		{"/v1/systemone", 2, true, asks("/v1/systemone", func(w *writer) object {
			return object{"model": "m", "state": w.state(), "questions": object{
				"a": object{"type": "noul", "instructions": w.text(9)}, "b": object{"type": "noul", "instructions": w.text(20)},
			}}
		})},
		{"/tokenize", 1, true, asks("/tokenize", func(w *writer) object { return object{"model": "m", "prompt": w.text(50)} })},
		{"/generate, never read", 0.4, true, unread},
		{"PrefillStream, never read", 0.4, false, unreadStream},
	}
}

// embedding are the kinds for a model that embeds and classifies.
func embedding() []kind {
	input := func(w *writer) any {
		if w.IntN(3) == 0 {
			return append(w.stateIDs(), w.ids(1+w.IntN(40))...)
		}
		return w.state() + w.text(1+w.IntN(40))
	}
	return []kind{
		{"/v1/embeddings", 6, false, asks("/v1/embeddings", func(w *writer) object {
			return object{"model": "m", "input": input(w), "encoding_format": []string{"float", "base64"}[w.IntN(2)]}
		})},
		{"/v1/embeddings, a list", 1, true, asks("/v1/embeddings", func(w *writer) object {
			return object{"model": "m", "input": []string{w.text(30), w.text(80), w.text(9)}}
		})},
		{"/v1/embeddings, too long", 0.5, false, asks("/v1/embeddings", func(*writer) object {
			return object{"model": "m", "input": tooLong()}
		})},
		{"/encode", 2, false, asks("/encode", func(w *writer) object { return object{"text": w.state() + w.text(9)} })},
		{"/classify", 2, false, asks("/classify", func(w *writer) object { return object{"input_ids": w.ids(20 + w.IntN(400))} })},
		{"/v1/classify", 3, false, asks("/v1/classify", func(w *writer) object { return object{"model": "m", "input": w.state() + w.text(9)} })},
	}
}
