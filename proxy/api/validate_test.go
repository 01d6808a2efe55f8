package api

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

func errorHolds(err error, part string) bool { return strings.Contains(err.Error(), part) }

var known = upstream.Limits{VocabSize: 1000, MaxPromptTokens: 8}

func TestValidationNamesTheField(t *testing.T) {
	nan := float32(math.NaN())
	options := func(o *pb.LogprobOptions) *pb.PrefillRequest {
		return &pb.PrefillRequest{TokenIds: []int32{1, 2}, Logprobs: o}
	}
	sampling := func(s *pb.SamplingParams) *pb.PrefillRequest {
		return &pb.PrefillRequest{Text: "a", SamplingParams: s}
	}
	for _, c := range []struct {
		field, problem string
		req            *pb.PrefillRequest
	}{
		{"text", "must not be empty", nil},
		{"text", "must not be empty", &pb.PrefillRequest{}},
		{"token_ids", "only one", &pb.PrefillRequest{Text: "a", TokenIds: []int32{1}}},
		{"max_new_tokens", "0 or 1, got 2", &pb.PrefillRequest{Text: "a", MaxNewTokens: 2}},
		{"token_ids", "at most 8 tokens, got 9", &pb.PrefillRequest{TokenIds: make([]int32, 9)}},
		{"token_ids[3]", "-1 is outside the vocabulary [0, 1000)", &pb.PrefillRequest{TokenIds: []int32{1, 2, 3, -1}}},
		{"token_ids[0]", "1000 is outside", &pb.PrefillRequest{TokenIds: []int32{1000}}},
		{"request_id", "at most 128 bytes, got 129", &pb.PrefillRequest{Text: "a", RequestId: strings.Repeat("i", 129)}},
		{"cache_salt", "at most 1024", &pb.PrefillRequest{Text: "a", CacheSalt: strings.Repeat("i", 1025)}},
		{"lora", "at most 1024", &pb.PrefillRequest{Text: "a", Lora: strings.Repeat("i", 1025)}},
		{"logprobs.top_k", "at most 1000, got 1001", options(&pb.LogprobOptions{TopK: 1001})},
		{"logprobs.prompt_start", "2 tokens, got 3", options(&pb.LogprobOptions{PromptStart: proto.Uint32(3)})},
		{"logprobs.prompt_start", "at most", options(&pb.LogprobOptions{PromptStart: proto.Uint32(math.MaxUint32)})},
		{"logprobs.token_ids[1]", "-2 is outside", options(&pb.LogprobOptions{TokenIds: []int32{0, -2}})},
		{"sampling_params.temperature", "at least 0", sampling(&pb.SamplingParams{Temperature: proto.Float32(-1)})},
		{"sampling_params.temperature", "NaN", sampling(&pb.SamplingParams{Temperature: &nan})},
		{"sampling_params.top_p", "above 0", sampling(&pb.SamplingParams{TopP: proto.Float32(0)})},
		{"sampling_params.top_k", "-1 for all", sampling(&pb.SamplingParams{TopK: proto.Int32(0)})},
		{"sampling_params.min_p", "from 0 to 1", sampling(&pb.SamplingParams{MinP: proto.Float32(1.5)})},
		{"sampling_params.logit_bias[1000]", "outside", sampling(&pb.SamplingParams{LogitBias: map[int32]float32{1000: 1}})},
		{"sampling_params.logit_bias[5]", "finite", sampling(&pb.SamplingParams{LogitBias: map[int32]float32{5: nan}})},
	} {
		_, err := validate(c.req, known)
		var e *upstream.FieldError
		if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(e.Problem, c.problem) {
			t.Errorf("want %s: …%s…; got %v", c.field, c.problem, err)
		}
	}
}

func TestValidRequestsPass(t *testing.T) {
	for _, req := range []*pb.PrefillRequest{
		{Text: "a"},
		{Text: "a", TokenIds: []int32{}},
		{TokenIds: []int32{0, 1000 - 1}, MaxNewTokens: 1},
		{TokenIds: []int32{1}, Logprobs: &pb.LogprobOptions{PromptStart: proto.Uint32(1), TopK: 1000}},
		{Text: "a", SamplingParams: &pb.SamplingParams{TopK: proto.Int32(-1), TopP: proto.Float32(1), MinP: proto.Float32(0)}},
	} {
		p, err := validate(req, known)
		if err != nil {
			t.Errorf("%v: %v", req, err)
		}
		if (p.Request.InputIDs != nil) != (p.Request.Text == "") {
			t.Errorf("%v: both prompts reach SGLang", req)
		}
	}
}

// An id outside the vocabulary can end SGLang, so ids need a known vocabulary.
func TestWithoutAVocabularyIDsAreRefusedAndTextIsNot(t *testing.T) {
	_, err := validate(&pb.PrefillRequest{TokenIds: []int32{1}}, upstream.Limits{})
	if err == nil || !errorHolds(err, "-vocab-size") {
		t.Errorf("ids: got %v", err)
	}
	if _, err := validate(&pb.PrefillRequest{Text: "a"}, upstream.Limits{}); err != nil {
		t.Errorf("text: got %v", err)
	}
}

// FuzzValidate checks that accepted requests are safe for SGLang, and that refusals name a
// field and quote no text.
func FuzzValidate(f *testing.F) {
	f.Add("a", []byte{}, uint32(0), uint32(0), float32(0), int32(0))
	f.Add("", []byte{1, 0, 0, 0}, uint32(1), uint32(5), float32(1), int32(-1))
	f.Add("", []byte{255, 255, 255, 255}, uint32(1), uint32(1), float32(math.Inf(1)), int32(-5))
	f.Fuzz(func(t *testing.T, text string, raw []byte, newTokens, start uint32, temperature float32, topK int32) {
		var ids []int32
		for ; len(raw) >= 4; raw = raw[4:] {
			ids = append(ids, int32(binary.LittleEndian.Uint32(raw)))
		}
		req := &pb.PrefillRequest{
			Text: text, TokenIds: ids, MaxNewTokens: newTokens,
			Logprobs:       &pb.LogprobOptions{PromptStart: &start, TopK: start, TokenIds: ids},
			SamplingParams: &pb.SamplingParams{Temperature: &temperature, TopK: &topK},
		}
		p, err := validate(req, known)
		if err != nil {
			var e *upstream.FieldError
			if !errors.As(err, &e) || e.Field == "" || len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		r := p.Request
		if (r.Text == "") == (len(r.InputIDs) == 0) || len(r.InputIDs) > known.MaxPromptTokens || r.MaxNewTokens > 1 {
			t.Fatalf("passed %+v", r)
		}
		for _, id := range append(r.InputIDs, r.Logprobs.TokenIDs...) {
			if id < 0 || int(id) >= known.VocabSize {
				t.Fatalf("passed id %d", id)
			}
		}
	})
}
