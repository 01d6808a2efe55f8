package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"paceline/batcher"
	"paceline/sglang"
)

func TestErrorsBecomeStatuses(t *testing.T) {
	upstream := func(k sglang.Kind) error { return &sglang.Error{Kind: k, Message: "why"} }
	for _, c := range []struct {
		err   error
		code  codes.Code
		retry bool
	}{
		{WrongField("text", "empty"), codes.InvalidArgument, false},
		{&batcher.SettingError{Field: "batch_size", Problem: "too large"}, codes.InvalidArgument, false},
		{&batcher.FullError{Bound: "queue_bytes", Limit: 5}, codes.ResourceExhausted, true},
		{&notReadyError{"away"}, codes.Unavailable, true},
		{batcher.ErrDraining, codes.Unavailable, true},
		{batcher.ErrClosed, codes.Unavailable, true},
		{batcher.ErrResumed, codes.Aborted, false},
		{batcher.ErrUnanswered, codes.Internal, false},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), codes.DeadlineExceeded, false},
		{context.Canceled, codes.Canceled, false},
		{upstream(sglang.KindBusy), codes.Unavailable, true},
		{upstream(sglang.KindUnreachable), codes.Unavailable, true},
		{upstream(sglang.KindServer), codes.Internal, false},
		{upstream(sglang.KindProtocol), codes.Internal, false},
		{upstream(sglang.KindAuth), codes.Internal, false},
		{upstream(sglang.KindAborted), codes.Aborted, false},
		{upstream(sglang.KindTooLong), codes.ResourceExhausted, false},
		{&batcher.PausedError{For: time.Second}, codes.Unavailable, true},
		{&batcher.LateError{Needs: time.Second}, codes.DeadlineExceeded, false},
		{upstream(sglang.KindRejected), codes.InvalidArgument, false},
	} {
		s := ToStatus(c.err)
		if s.Code() != c.code || (RetryAfter(s) > 0) != c.retry {
			t.Errorf("%v: got %v, retry after %v", c.err, s.Code(), RetryAfter(s))
		}
	}
}

func TestBadRequestHasTheFieldInItsDetails(t *testing.T) {
	s := ToStatus(WrongField("token_ids[3]", "%d is outside", -1))
	d, ok := s.Details()[0].(*errdetails.BadRequest)
	if !ok || d.GetFieldViolations()[0].GetField() != "token_ids[3]" || s.Message() != "token_ids[3]: -1 is outside" {
		t.Fatalf("got %v", s)
	}
}

func TestAFullQueueNamesItsBound(t *testing.T) {
	s := ToStatus(&batcher.FullError{Bound: "queue_bytes", Limit: 5})
	if !strings.Contains(s.Message(), "queue_bytes is 5") {
		t.Fatal(s.Message())
	}
}

func TestAnUnknownErrorKeepsItsTextToItself(t *testing.T) {
	if s := ToStatus(errors.New("the prompt was: secret")); strings.Contains(s.Message(), "secret") {
		t.Fatal(s.Message())
	}
}
