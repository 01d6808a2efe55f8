package dialect

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"paceline/sglang"
)

// scoring is one call of a path that scores: SGLang makes one prompt of each item, asks for
// the log probabilities of its labels and generates nothing.
type scoring struct {
	prompts any // texts, or lists of ids
	labels  [][]int32
	say     func(model string, scores, logprobs [][]float64, tokens int) any

	softmax     bool
	temperature float64
}

// scorers read a body.
var scorers = map[string]func(body fields) (*scoring, error){
	"/v1/score": score, "/v1/rerank": rerank, "/v1/decisions": decisions, "/v1/systemone": systemone,
}

// ScoringPaths returns the paths of Scoring.
func ScoringPaths() []string {
	return []string{"/v1/score", "/v1/rerank", "/v1/decisions", "/v1/systemone"}
}

// Scoring returns the dialect of one call of a path that scores. It serves no other call.
// The ignored fields of the body count as absent.
func Scoring(path string, ignored ...string) *Dialect {
	d := &Dialect{Path: path, OpenAI: true}
	d.native = func(body fields) error {
		for _, name := range ignored {
			delete(body, name)
		}
		s, err := scorers[path](body)
		if err != nil {
			return err
		}
		clear(body)
		key := "text"
		if _, ids := s.prompts.([][]int32); ids {
			key = "input_ids"
		}
		body[key], body["token_ids_logprob"] = marshal(s.prompts), marshal(s.labels)
		body["return_logprob"], body["sampling_params"] = marshal(true), marshal(map[string]int{"max_new_tokens": 0})
		d.answer = s.answer
		return nil
	}
	return d
}

func (s *scoring) answer(model string, all []sglang.Answer) any {
	scores, logprobs, tokens := make([][]float64, len(all)), make([][]float64, len(all)), 0
	for i, a := range all {
		tokens += a.Meta.PromptTokens
		for _, t := range a.Meta.OutputIDsLogprobs[0] {
			logprobs[i] = append(logprobs[i], *t.Logprob)
		}
		scores[i] = sglang.Scores(logprobs[i], s.softmax, s.temperature)
	}
	return s.say(model, scores, logprobs, tokens)
}

// score is /v1/score, without item_first, embeddings and setwise readouts.
func score(body fields) (*scoring, error) {
	var b struct {
		Query, Items json.RawMessage
		Labels       json.RawMessage `json:"label_token_ids"`
		Softmax      bool            `json:"apply_softmax"`
		Temperature  *float64        `json:"temperature"`
		Logprobs     bool            `json:"return_token_logprobs"`
		Model        string
	}
	if err := json.Unmarshal(marshal(body), &b); err != nil {
		return nil, err
	}
	s := &scoring{softmax: b.Softmax, temperature: 1}
	if b.Temperature != nil {
		s.temperature = *b.Temperature
	}
	if s.temperature != 1 && !s.softmax {
		return nil, Refusal("temperature requires apply_softmax=True")
	}
	n, err := s.compose(b.Query, b.Items)
	if err != nil {
		return nil, err
	}
	if err := s.readLabels(b.Labels, n); err != nil {
		return nil, err
	}
	s.say = func(_ string, scores, logprobs [][]float64, tokens int) any {
		if !b.Logprobs {
			logprobs = nil
		}
		return sglang.NewScoringAnswer(cmp.Or(b.Model, sglang.DefaultModel), scores, logprobs, tokens)
	}
	return s, nil
}

// compose makes the prompts of a query and items, and returns their number.
func (s *scoring) compose(query, items json.RawMessage) (int, error) {
	var text, one string
	var texts []string
	if json.Unmarshal(items, &one) == nil {
		texts = []string{one}
	}
	if (texts != nil || json.Unmarshal(items, &texts) == nil) && json.Unmarshal(query, &text) == nil && len(texts) > 0 {
		for i := range texts {
			texts[i] = text + texts[i]
		}
		s.prompts = texts
		return len(texts), nil
	}
	var ids []int32
	var lists [][]int32
	if json.Unmarshal(query, &ids) != nil || json.Unmarshal(items, &lists) != nil || len(lists) == 0 {
		return 0, Refusal("Invalid combination of query/items types for score_request.")
	}
	for i := range lists {
		lists[i] = slices.Concat(ids, lists[i])
	}
	s.prompts = lists
	return len(lists), nil
}

func (s *scoring) readLabels(raw json.RawMessage, n int) error {
	var all []int32
	switch {
	case json.Unmarshal(raw, &all) == nil:
		s.labels = slices.Repeat([][]int32{all}, n)
	case json.Unmarshal(raw, &s.labels) != nil:
		return Refusal("label_token_ids must be a nonempty list")
	case len(s.labels) != n:
		return Refusal("label_token_ids must have one list per item")
	}
	for _, labels := range s.labels {
		if len(labels) == 0 {
			return Refusal("each item must have a nonempty candidate list")
		}
		if sorted := slices.Sorted(slices.Values(labels)); len(slices.Compact(sorted)) < len(labels) {
			return Refusal("label_token_ids must not contain duplicate tokens")
		}
	}
	return nil
}

// yes and no are the ids of Qwen3's words.
const yes, no = 9693, 2152

// rerank is /v1/rerank of a decoder, in about the words of Qwen3-Reranker's template.
func rerank(body fields) (*scoring, error) {
	var b struct {
		Query, Instruct string
		Documents       []string
		TopN            int   `json:"top_n"`
		Return          *bool `json:"return_documents"`
	}
	if err := json.Unmarshal(marshal(body), &b); err != nil {
		return nil, err
	}
	if strings.TrimSpace(b.Query) == "" {
		return nil, Refusal("Query cannot be empty or whitespace only")
	}
	if slices.ContainsFunc(b.Documents, func(d string) bool { return strings.TrimSpace(d) == "" }) || len(b.Documents) == 0 {
		return nil, Refusal("Each document cannot be empty or whitespace only")
	}
	s := &scoring{}
	var prompts []string
	for _, d := range b.Documents {
		prompts = append(prompts, fmt.Sprintf("<|im_start|>user\n<Instruct>: %s\n<Query>: %s\n<Document>: %s<|im_end|>\n<|im_start|>assistant\n",
			b.Instruct, b.Query, d))
		s.labels = append(s.labels, []int32{yes, no})
	}
	s.prompts = prompts
	type ranked struct {
		Score    float64 `json:"score"`
		Document string  `json:"document,omitempty"`
		Index    int     `json:"index"`
		Meta     *int    `json:"meta_info"`
	}
	s.say = func(_ string, scores, _ [][]float64, _ int) any {
		all := make([]ranked, len(scores))
		for i, p := range scores {
			all[i] = ranked{Score: p[0] / (p[0] + p[1]), Index: i}
			if b.Return == nil || *b.Return {
				all[i].Document = b.Documents[i]
			}
		}
		slices.SortStableFunc(all, func(x, y ranked) int { return cmp.Compare(y.Score, x.Score) })
		if b.TopN > 0 {
			all = all[:min(b.TopN, len(all))]
		}
		return all
	}
	return s, nil
}

// question is one of /v1/decisions or /v1/systemone.
type question struct {
	id, kind string
	text     []byte   // its JSON
	names    []string // of its options
}

// ask makes a prompt of each question. The words are not SGLang's. The label of option k is
// the id of the letter at k. Answers have the fields of both paths; confidences are left
// out. say makes the whole answer of the object that has them in order.
func (s *scoring) ask(state json.RawMessage, questions []question, say func(model string, answers json.RawMessage, tokens int) any) {
	s.softmax = true
	var prompts []string
	for _, q := range questions {
		prompts = append(prompts, fmt.Sprintf("<|im_start|>user\n%s\n\nQuestion: %s<|im_end|>\n<|im_start|>assistant\n", state, q.text))
		var labels []int32
		for k := range q.names {
			labels = append(labels, int32('A'+k))
		}
		s.labels = append(s.labels, labels)
	}
	s.prompts = prompts
	s.say = func(model string, scores, logprobs [][]float64, tokens int) any {
		var answers [][]byte
		for i, q := range questions {
			answers = append(answers, slices.Concat(marshal(q.id), []byte(":"), marshal(q.answer(scores[i], logprobs[i]))))
		}
		return say(model, slices.Concat([]byte("{"), bytes.Join(answers, []byte(",")), []byte("}")), tokens)
	}
}

func (q *question) answer(scores, logprobs []float64) map[string]any {
	probabilities, level, mass := map[string]float64{}, 0.0, 0.0
	for k, p := range scores {
		probabilities[q.names[k]] = p
		level += float64(k) * p
		mass += math.Exp(logprobs[k])
	}
	a := map[string]any{"type": q.kind, "probabilities": probabilities, "label_mass": mass, "x_label_mass": mass}
	switch q.kind {
	case "score":
		a["score"] = level
	case "choice":
		a["choice"] = q.names[slices.Index(scores, slices.Max(scores))]
	case "noul":
		a["noul"] = scores[0]
	}
	return a
}

// levels are the names of the options of a question of kind score.
func levels(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return names
}

// decisions is /v1/decisions.
func decisions(body fields) (*scoring, error) {
	var b struct {
		Input       json.RawMessage
		Questions   []json.RawMessage
		Temperature *float64
		Model       string
	}
	if err := json.Unmarshal(marshal(body), &b); err != nil {
		return nil, err
	}
	s := &scoring{temperature: 1}
	if b.Temperature != nil {
		s.temperature = *b.Temperature
	}
	var questions []question
	for _, raw := range b.Questions {
		var q struct {
			ID, Type string
			Options  []struct{ Name string }
			Levels   []any
		}
		if err := json.Unmarshal(raw, &q); err != nil {
			return nil, err
		}
		one := question{id: q.ID, kind: q.Type, text: raw, names: []string{"yes", "no"}}
		switch {
		case slices.ContainsFunc(questions, func(other question) bool { return other.id == q.ID }):
			return nil, Refusal(fmt.Sprintf("question id '%s' repeats another question", q.ID))
		case q.Type == "score":
			one.names = levels(len(q.Levels))
		case q.Type == "choice":
			one.names = nil
			for _, o := range q.Options {
				one.names = append(one.names, o.Name)
			}
		}
		questions = append(questions, one)
	}
	s.ask(b.Input, questions, func(_ string, answers json.RawMessage, tokens int) any {
		return map[string]any{
			"object": "decisions", "model": cmp.Or(b.Model, "default"), "prompt_format_version": 1, "answers": answers,
			"usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "reasoning_tokens": 0},
		}
	})
	return s, nil
}

// systemone is /v1/systemone of a checkpoint without a head of its own.
func systemone(body fields) (*scoring, error) {
	questions, err := named(body["questions"])
	if err != nil {
		return nil, err
	}
	s := &scoring{temperature: 1}
	s.ask(body["state"], questions, func(model string, answers json.RawMessage, tokens int) any {
		return map[string]any{"model": model, "answers": answers, "usage": map[string]int{"input_tokens": tokens, "output_tokens": 0}}
	})
	return s, nil
}

// named reads the questions of /v1/systemone, in their order.
func named(raw json.RawMessage) (questions []question, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		id, err1 := d.Token()
		var text json.RawMessage
		var q struct {
			Type     string
			Criteria any
		}
		err2 := d.Decode(&text)
		if err := cmp.Or(err1, err2, json.Unmarshal(orNull(text), &q)); err != nil {
			return nil, err
		}
		one := question{id: fmt.Sprint(id), kind: q.Type, text: text, names: []string{"yes", "no"}}
		switch criteria := q.Criteria.(type) {
		case []any:
			one.names = levels(len(criteria))
		case map[string]any:
			one.names = slices.Sorted(maps.Keys(criteria))
		}
		questions = append(questions, one)
	}
	return questions, nil
}
