package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// prefillRequest makes a request of PrefillService; some are bad.
func (w *writer) prefillRequest() *pb.PrefillRequest {
	r := &pb.PrefillRequest{MaxNewTokens: w.Uint32N(2)}
	switch w.IntN(12) {
	case 0:
		r.Text = tooLong()
	case 1:
		r.TokenIds = append(w.ids(3), vocabulary)
	case 2, 3, 4, 5:
		r.TokenIds = append(w.stateIDs(), w.ids(1+w.IntN(80))...)
	default:
		r.Text = w.state() + w.text(1+w.IntN(80))
	}
	if w.IntN(2) == 0 {
		r.Logprobs = &pb.LogprobOptions{TokenIds: w.labels()}
		if w.IntN(3) == 0 {
			r.Logprobs.PromptStart = proto.Uint32(100)
		}
	}
	return r
}

// check compares a reply with what SGLang alone says.
func (p *pair) check(r *pb.PrefillRequest, got *pb.PrefillResponse) (outcome, error) {
	body := object{"sampling_params": object{"max_new_tokens": r.GetMaxNewTokens()}}
	if body["text"] = r.GetText(); r.GetText() == "" {
		delete(body, "text")
		body["input_ids"] = r.GetTokenIds()
	}
	if l := r.GetLogprobs(); l != nil {
		body["return_logprob"], body["token_ids_logprob"] = true, l.GetTokenIds()
		if l.PromptStart != nil {
			body["logprob_start_len"] = l.GetPromptStart()
		}
	}
	answer := p.alone("/generate", body.body())
	var want generated
	if err := json.Unmarshal(answer.Body.Bytes(), &want); err != nil || answer.Code != http.StatusOK {
		return lost, fmt.Errorf("answered with %v, and SGLang alone says %d", got, answer.Code)
	}
	has := fmt.Sprint(got.GetPromptTokens(), tokens(got.GetFirstToken()), logprobs(got.GetLogprobs()))
	wants := fmt.Sprint(want.Meta.PromptTokens, want.OutputIDs, want.logprobs())
	if has != wants {
		return lost, fmt.Errorf("got %.600s, and SGLang alone says %.600s", has, wants)
	}
	return answered, nil
}

func tokens(t *pb.Token) []int32 {
	if t == nil {
		return []int32{}
	}
	return []int32{t.GetId()}
}

// logprobs returns the log probabilities of a reply in a form to compare.
func logprobs(l *pb.Logprobs) (all []string) {
	for _, t := range l.GetPrompt() {
		all = append(all, fmt.Sprintf("%d %.9g", t.GetToken().GetId(), t.GetToken().GetLogprob()))
	}
	for _, t := range l.GetCompletion() {
		for _, c := range t.GetChosen() {
			all = append(all, fmt.Sprintf("%d %.9g", c.GetId(), c.GetLogprob()))
		}
	}
	return all
}

// generated is an answer of /generate. A log probability is a triple: itself, which may be
// null, the token's id, and its text.
type generated struct {
	OutputIDs []int32 `json:"output_ids"`
	Meta      struct {
		PromptTokens int            `json:"prompt_tokens"`
		Input        [][]*float64   `json:"input_token_logprobs"`
		Chosen       [][][]*float64 `json:"output_token_ids_logprobs"`
	} `json:"meta_info"`
}

// logprobs are those of a reply in the same form.
func (g *generated) logprobs() (all []string) {
	for _, t := range slices.Concat(append([][][]*float64{g.Meta.Input}, g.Meta.Chosen...)...) {
		if t[0] == nil {
			t[0] = new(float64)
		}
		all = append(all, fmt.Sprintf("%d %.9g", int(*t[1]), *t[0]))
	}
	return all
}

// isBad reports whether a request is one that must be rejected.
func isBad(r *pb.PrefillRequest) bool {
	return r.GetText() == tooLong() || slices.Contains(r.GetTokenIds(), vocabulary)
}

// only complains if a good request was rejected.
func only(bad bool, out outcome, err error) (outcome, error) {
	if out == rejected && !bad {
		return lost, err
	}
	return out, err
}

func prefill(w *writer) try {
	r := w.prefillRequest()
	return func(ctx context.Context, p *pair) (outcome, error) {
		got, err := p.prefill.Prefill(ctx, r)
		if err != nil {
			out, err := ofStatus(status.Convert(err))
			return only(isBad(r), out, err)
		}
		return p.check(r, got)
	}
}

// restPrefill is prefill over REST.
func restPrefill(w *writer) try {
	r := w.prefillRequest()
	got := new(pb.PrefillResponse)
	return rest("/v1/prefill", r, got, isBad(r), func(p *pair) (outcome, error) { return p.check(r, got) })
}

// rest posts a message and reads the answer into another.
func rest(path string, r, into proto.Message, bad bool, check func(p *pair) (outcome, error)) try {
	return func(ctx context.Context, p *pair) (outcome, error) {
		body, err := protojson.Marshal(r)
		if err != nil {
			return lost, err
		}
		code, header, answer, out, err := p.post(ctx, path, body)
		switch {
		case err != nil:
			return out, err
		case code != http.StatusOK:
			out, err := ofHTTP(code, header, answer)
			return only(bad, out, err)
		}
		if err := (protojson.UnmarshalOptions{}).Unmarshal(answer, into); err != nil {
			return lost, fmt.Errorf("%w: %.300s", err, answer)
		}
		return check(p)
	}
}

// received reads a stream to its end, and complains about what each does not expect.
func received[M any](recv func() (M, error), each func(M) error) (outcome, error) {
	for {
		m, err := recv()
		switch {
		case errors.Is(err, io.EOF):
			return answered, nil
		case err != nil:
			return ofStatus(status.Convert(err))
		}
		if err := each(m); err != nil {
			return lost, err
		}
	}
}

// ends joins the ends of the parts of a request.
type ends struct {
	all  outcome
	said error // of the worst
}

func (e *ends) add(out outcome, err error) {
	if worse := worst(e.all, out); worse != e.all {
		e.all, e.said = worse, err
	}
}

// prefillStream sends several requests over one stream. What was refused of them is sent again.
func prefillStream(w *writer) try {
	left := map[string]*pb.PrefillRequest{}
	for i := range 2 + w.IntN(12) {
		left[strconv.Itoa(i)] = w.prefillRequest()
	}
	var all ends
	return func(ctx context.Context, p *pair) (outcome, error) {
		s, err := p.prefill.PrefillStream(ctx)
		if err != nil {
			return ofStatus(status.Convert(err))
		}
		open, again := maps.Clone(left), false
		for id, r := range open {
			r.RequestId = id
			_ = s.Send(&pb.PrefillStreamRequest{Request: r}) // Recv says why
		}
		_ = s.CloseSend() // as above
		out, err := received(s.Recv, func(m *pb.PrefillStreamResponse) error {
			r, waits := open[m.GetRequestId()]
			if !waits {
				return fmt.Errorf("request %q was answered twice", m.GetRequestId())
			}
			delete(open, m.GetRequestId())
			if out, err := p.checkStreamed(r, m); out == refused {
				again = true
			} else {
				delete(left, m.GetRequestId())
				all.add(out, err)
			}
			return nil
		})
		switch {
		case out != answered:
			return out, err
		case len(open) > 0:
			return lost, fmt.Errorf("the stream ended without an answer to %d of its requests", len(open))
		case again && all.all != lost:
			return refused, nil
		}
		return all.all, all.said
	}
}

func (p *pair) checkStreamed(r *pb.PrefillRequest, m *pb.PrefillStreamResponse) (outcome, error) {
	if e := m.GetError(); e != nil {
		out, err := ofError(e)
		return only(isBad(r), out, err)
	}
	return p.check(r, m.GetResponse())
}

func ofError(e *pb.Error) (outcome, error) {
	return ofStatus(status.FromProto(&spb.Status{Code: e.GetCode(), Message: e.GetMessage(), Details: e.GetDetails()}))
}

// scoreRequest makes a request of ScoreService.
func (w *writer) scoreRequest() *pb.ScoreRequest {
	r := &pb.ScoreRequest{LabelTokenIds: w.labels(), ApplySoftmax: w.IntN(2) == 0}
	texts := w.IntN(2) == 0
	if r.Text = w.state(); !texts {
		r.Text, r.TokenIds = "", w.stateIDs()
	}
	for range 1 + w.IntN(8) {
		item := &pb.ScoreItem{Text: w.text(1 + w.IntN(40))}
		if !texts {
			item = &pb.ScoreItem{TokenIds: w.ids(1 + w.IntN(40))}
		}
		r.Items = append(r.Items, item)
	}
	return r
}

// alonesScores returns what SGLang alone says to a request of ScoreService.
func (p *pair) alonesScores(r *pb.ScoreRequest) ([][]float64, error) {
	body := object{"label_token_ids": r.GetLabelTokenIds(), "apply_softmax": r.GetApplySoftmax(), "query": r.GetText()}
	var texts []string
	var ids [][]int32
	for _, item := range r.GetItems() {
		texts, ids = append(texts, item.GetText()), append(ids, item.GetTokenIds())
	}
	if body["items"] = texts; r.GetText() == "" {
		body["query"], body["items"] = r.GetTokenIds(), ids
	}
	var want sglang.ScoringAnswer
	answer := p.alone("/v1/score", body.body())
	err := json.Unmarshal(answer.Body.Bytes(), &want)
	if len(want.Scores) != len(r.GetItems()) {
		return nil, fmt.Errorf("SGLang alone says %d %.300s", answer.Code, answer.Body)
	}
	return want.Scores, err
}

func checkItem(got *pb.ItemScore, want []float64) (outcome, error) {
	if !slices.EqualFunc(got.GetScores(), want, func(a, b float64) bool { return math.Abs(a-b) <= 1e-9 }) {
		return lost, fmt.Errorf("got %v, and SGLang alone says %v", got.GetScores(), want)
	}
	return answered, nil
}

func (p *pair) checkScores(r *pb.ScoreRequest, got *pb.ScoreResponse) (outcome, error) {
	want, err := p.alonesScores(r)
	if err != nil || len(got.GetItems()) != len(want) {
		return lost, fmt.Errorf("%d scores of %d items: %w", len(got.GetItems()), len(want), err)
	}
	for i, item := range got.GetItems() {
		if out, err := checkItem(item, want[i]); out != answered {
			return out, err
		}
	}
	return answered, nil
}

func score(w *writer) try {
	r := w.scoreRequest()
	return func(ctx context.Context, p *pair) (outcome, error) {
		got, err := p.score.Score(ctx, r)
		if err != nil {
			out, err := ofStatus(status.Convert(err))
			return only(false, out, err)
		}
		return p.checkScores(r, got)
	}
}

func restScore(w *writer) try {
	r := w.scoreRequest()
	got := new(pb.ScoreResponse)
	return rest("/v1/paceline/score", r, got, false, func(p *pair) (outcome, error) { return p.checkScores(r, got) })
}

func scoreStream(w *writer) try {
	r := w.scoreRequest()
	return func(ctx context.Context, p *pair) (outcome, error) {
		want, err := p.alonesScores(r)
		if err != nil {
			return lost, err
		}
		s, err := p.score.ScoreStream(ctx, &pb.ScoreStreamRequest{Request: r})
		if err != nil {
			return ofStatus(status.Convert(err))
		}
		var all ends
		seen := map[uint32]bool{}
		out, err := received(s.Recv, func(m *pb.ScoreStreamResponse) error {
			if seen[m.GetIndex()] || int(m.GetIndex()) >= len(want) {
				return fmt.Errorf("item %d was answered twice, or is none", m.GetIndex())
			}
			seen[m.GetIndex()] = true
			if e := m.GetError(); e != nil {
				out, err := ofError(e)
				all.add(only(false, out, err))
			} else {
				all.add(checkItem(m.GetScore(), want[m.GetIndex()]))
			}
			return nil
		})
		switch {
		case out != answered:
			return out, err
		case len(seen) != len(want):
			return lost, fmt.Errorf("the stream ended with %d of %d items", len(seen), len(want))
		}
		return all.all, all.said
	}
}

// unreadStream sends prompts with long answers over a connection of its own, and reads none.
func unreadStream(w *writer) try {
	r := &pb.PrefillRequest{Text: w.state() + w.text(20), Logprobs: &pb.LogprobOptions{PromptStart: proto.Uint32(0), TopK: 8}}
	return func(ctx context.Context, p *pair) (outcome, error) {
		ctx, cancel := context.WithTimeout(ctx, unreadFor)
		defer cancel()
		conn, err := dial(p.grpc)
		if err != nil {
			return lost, err
		}
		defer conn.Close() //nolint:errcheck // nothing is lost
		s, err := pb.NewPrefillServiceClient(conn).PrefillStream(ctx)
		if err != nil {
			return ofStatus(status.Convert(err))
		}
		for i := range 30 {
			r := proto.CloneOf(r)
			r.RequestId, r.Text = strconv.Itoa(i), r.GetText()+strconv.Itoa(i)
			if s.Send(&pb.PrefillStreamRequest{Request: r}) != nil {
				break // it has ended, or the proxy reads no more
			}
		}
		<-ctx.Done()
		return answered, nil
	}
}
