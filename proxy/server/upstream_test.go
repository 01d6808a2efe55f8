package server

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

func TestTheProxyFollowsSGLangThroughARestart(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	await(t, "SGLang has been asked", func() bool { return r.up.Snapshot().Asked })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	s := status.Convert(err)
	if s.Code() != codes.Unavailable || upstream.RetryAfter(s) == 0 || !strings.Contains(s.Message(), "can't be reached") {
		t.Errorf("without SGLang: %v", err)
	}

	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	since := time.Now()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Errorf("with SGLang: %v", err)
	}

	f.stop()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unavailable {
		t.Errorf("SGLang gone: %v", err)
	}
	r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	if d := time.Since(since); d >= 5*time.Second {
		t.Errorf("the failed call told the watch nothing: %v", d)
	}

	f.setInfo("served_model_name", "another")
	f.setInfo("simulator", map[string]any{"vocab_size": 5})
	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if s := r.up.Snapshot(); s.Model != "another" || s.Limits.VocabSize != 5 {
		t.Errorf("after the restart: %+v", s)
	}
}

// Only a failed call notices a server that was away for a short time.
func TestALostCallMakesTheProxyAskWhatIsServedNow(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	f.setInfo("served_model_name", "another")
	f.mu.Lock()
	f.refuse = func(fakeCall) (int, string, bool) { panic(http.ErrAbortHandler) }
	f.mu.Unlock()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	await(t, "the new model is known", func() bool { return r.up.Snapshot().Model == "another" })
}

func TestThePromptLimitFollowsFromTheCacheWhereNoOtherIsTold(t *testing.T) {
	f := newFake(t)
	f.setInfo("max_req_input_len", 0)
	if l := start(t, f, nil).up.Snapshot().Limits; l.MaxPromptTokens != 5000-7 {
		t.Errorf("%+v", l)
	}
}

// What SGLang says of itself is an input too.
func TestAbsurdLimitsDoNoHarm(t *testing.T) {
	for _, n := range []int{math.MinInt64, -1, math.MaxInt64} {
		f := newFake(t)
		for _, field := range []string{"max_req_input_len", "max_total_num_tokens", "chunked_prefill_size", "max_running_requests"} {
			f.setInfo(field, n)
		}
		f.setInfo("simulator", map[string]any{"vocab_size": n})
		r := start(t, f, nil)
		for range 3 {
			reply, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a b c"})
			if err != nil || reply.GetPromptTokens() != 3 {
				t.Errorf("%d: %v, %v", n, reply, err)
			}
		}
		if l := r.up.Snapshot().Limits; l.MaxPromptTokens < 0 || l.VocabSize < 0 {
			t.Errorf("%d: %+v", n, l)
		}
	}
}

func TestReadinessIsLoggedOncePerTurn(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	await(t, "SGLang has been asked", func() bool { return r.up.Snapshot().Asked })
	for range 5 {
		_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	}
	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	log := r.log.String()
	if strings.Count(log, "not ready: ") != 1 || strings.Count(log, "msg=ready") != 1 || !strings.Contains(log, "model=tiny") {
		t.Error(log)
	}
}

func TestAConfiguredVocabularyWins(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Upstream.VocabSize = 3 })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{TokenIds: []int32{3}})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "[0, 3)") {
		t.Errorf("got %v", err)
	}
}
