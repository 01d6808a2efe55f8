package sglang

// scanItems reads the answer to a list as SGLang writes it. It makes of it what
// encoding/json would, but for Raw, which is part of data; not ok means that
// encoding/json is to read it.
func scanItems(data []byte, requests []Request) (items []item, ok bool) {
	s := scanner{data: data}
	items = make([]item, 0, len(requests))
	keepRaw := anyKeepsRaw(requests)
	s.list(func() {
		if len(items) == len(requests) {
			s.bad = true
			return
		}
		rid := requests[len(items)].RID
		items = append(items, item{})
		it, from := &items[len(items)-1], s.at
		s.item(it, rid)
		if keepRaw && !s.bad {
			it.Raw = data[from:s.at:s.at]
		}
	})
	s.end()
	return items, !s.bad
}

// item reads an element that is probably the answer to rid.
func (s *scanner) item(it *item, rid string) {
	s.object(func(name []byte) (number int) {
		switch string(name) {
		case "text":
			number = 1
			s.text(&it.Text, "")
		case "output_ids":
			number = 2
			s.ids(&it.OutputIDs)
		case "meta_info":
			number = 3
			s.meta(&it.Meta, rid)
		case "error":
			number = 4
			s.other(&it.Error)
		default:
			s.pass(0)
		}
		return number
	})
}

func (s *scanner) meta(m *MetaInfo, rid string) {
	s.object(func(name []byte) (number int) {
		switch string(name) {
		case "id":
			number = 1
			s.text(&m.ID, rid)
		case "finish_reason":
			number = 2
			s.reason(&m.FinishReason)
		case "prompt_tokens":
			number = 3
			s.count(&m.PromptTokens)
		case "completion_tokens":
			number = 4
			s.count(&m.CompletionTokens)
		case "cached_tokens":
			number = 5
			s.count(&m.CachedTokens)
		case "cached_tokens_details":
			number = 6
			s.details(&m.CachedTokensDetails)
		case "weight_version":
			number = 7
			s.text(&m.WeightVersion, "default") // as SGLang calls it that was told no other
		case "queue_time":
			number = 8
			s.seconds(&m.QueueTime)
		case "e2e_latency":
			number = 9
			s.seconds(&m.E2ELatency)
		case "input_token_logprobs":
			number = 10
			s.other(&m.InputTokenLogprobs)
		case "output_token_logprobs":
			number = 11
			s.other(&m.OutputTokenLogprobs)
		case "input_top_logprobs":
			number = 12
			s.other(&m.InputTopLogprobs)
		case "output_top_logprobs":
			number = 13
			s.other(&m.OutputTopLogprobs)
		case "input_token_ids_logprobs":
			number = 14
			s.other(&m.InputIDsLogprobs)
		case "output_token_ids_logprobs":
			number = 15
			s.other(&m.OutputIDsLogprobs)
		default:
			s.pass(0)
		}
		return number
	})
}

func (s *scanner) reason(to **FinishReason) {
	if s.peek() != '{' {
		s.other(to)
		return
	}
	f := new(FinishReason)
	*to = f
	s.object(func(name []byte) (number int) {
		switch string(name) {
		case "type":
			number = 1
			s.text(&f.Type, "length")
		case "length":
			number = 2
			s.optionalCount(&f.Length)
		case "message":
			number = 3
			s.text(&f.Message, "")
		case "status_code":
			number = 4
			f.StatusCode = s.raw()
		default:
			s.pass(0)
		}
		return number
	})
}

func (s *scanner) details(to **CachedDetails) {
	if s.peek() != '{' {
		s.other(to)
		return
	}
	d := new(CachedDetails)
	*to = d
	s.object(func(name []byte) (number int) {
		switch string(name) {
		case "device":
			number = 1
			s.count(&d.Device)
		case "host":
			number = 2
			s.count(&d.Host)
		default:
			s.pass(0)
		}
		return number
	})
}
