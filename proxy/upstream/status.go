package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/sglang"
)

// Delays of RetryInfo.
const (
	retryFull     = time.Second     // a full queue holds more work than this
	retryBusy     = time.Second     // as for a full queue, of SGLang's
	retryAway     = 2 * time.Second // two checks of the watch
	retryDraining = 5 * time.Second // balancers see NOT_SERVING by then
)

// notReadyError refuses a request because SGLang is away.
type notReadyError struct{ reason string }

func (e *notReadyError) Error() string { return e.reason }

// NotReady refuses a request because SGLang is away, for that reason.
func NotReady(reason string) error { return &notReadyError{reason} }

// RateError refuses a prompt of a caller that sent more than its rate.
type RateError struct{ wait time.Duration }

// Error implements error.
func (e *RateError) Error() string { return "the key's rate of requests is used up" }

// ToStatus maps an error to a gRPC status, and nil to nil. It is the only place that does.
// An unknown error becomes INTERNAL without its text, which might hold prompt text.
func ToStatus(err error) *status.Status {
	if err == nil {
		return nil
	}
	st, _ := toStatus(err)
	return st
}

// Refused returns the reason for the metrics why a prompt was never sent; "" if err is no
// refusal.
func Refused(err error) string {
	_, refused := toStatus(err)
	return refused
}

// toStatus is ToStatus, with the reason for the metrics if the prompt was never sent.
func toStatus(err error) (st *status.Status, refused string) {
	var (
		field    *FieldError
		setting  *batcher.SettingError
		full     *batcher.FullError
		paused   *batcher.PausedError
		late     *batcher.LateError
		notReady *notReadyError
		tooFast  *RateError
		upstream *sglang.Error
	)
	switch {
	case errors.As(err, &field):
		return badRequest(field), telemetry.RefusedInvalid
	case errors.As(err, &setting):
		return badRequest(&FieldError{"settings." + setting.Field, setting.Problem}), ""
	case errors.As(err, &full):
		return retryLater(codes.ResourceExhausted, retryFull, "the queue is full: "+full.Error()), telemetry.RefusedQueue
	case errors.As(err, &tooFast):
		return retryLater(codes.ResourceExhausted, tooFast.wait, tooFast.Error()), telemetry.RefusedRate
	case errors.As(err, &paused):
		const message = "SGLang failed every recent call and is left alone for a while"
		return retryLater(codes.Unavailable, paused.For, message), telemetry.RefusedBreaker
	case errors.As(err, &late):
		return status.New(codes.DeadlineExceeded, fmt.Sprintf(
			"the deadline comes in %v and an answer takes at least %v, so it was not tried",
			late.Left.Round(time.Millisecond), late.Needs.Round(time.Millisecond))), telemetry.RefusedDeadline
	case errors.As(err, &notReady):
		return retryLater(codes.Unavailable, retryAway, notReady.reason), telemetry.RefusedNotReady
	case errors.As(err, &upstream):
		return upstreamStatus(upstream), ""
	case errors.Is(err, batcher.ErrDraining), errors.Is(err, batcher.ErrClosed):
		return retryLater(codes.Unavailable, retryDraining, "the proxy is draining and takes no new requests"), telemetry.RefusedDraining
	}
	return plainStatus(err), ""
}

// endOf returns what the metrics count for a prompt that ended with err.
func endOf(err error) telemetry.End {
	st, refused := toStatus(err)
	end := telemetry.End{Outcome: telemetry.OutcomeFailed, Status: telemetry.StatusName(st.Code()), Refused: refused}
	switch {
	case refused != "":
		end.Outcome = telemetry.OutcomeRefused
	case errors.Is(err, context.Canceled):
		end.Outcome = telemetry.OutcomeCancelled
	case errors.Is(err, context.DeadlineExceeded):
		end.Outcome = telemetry.OutcomeExpired
	}
	return end
}

func plainStatus(err error) *status.Status {
	switch {
	case errors.Is(err, errDeadly):
		return status.New(codes.Internal, errDeadly.Error())
	case errors.Is(err, batcher.ErrResumed):
		return status.New(codes.Aborted, "the drain was undone")
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the deadline came before the answer")
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the caller gave up")
	}
	return status.New(codes.Internal, "the proxy failed to answer")
}

// upstreamStatus maps an error of SGLang. Its message has no prompt text: package sglang
// removes it.
func upstreamStatus(e *sglang.Error) *status.Status {
	switch e.Kind {
	case sglang.KindBusy:
		return retryLater(codes.Unavailable, retryBusy, "SGLang is busy: "+e.Message)
	case sglang.KindUnreachable:
		return retryLater(codes.Unavailable, retryAway, "SGLang can't be reached: "+e.Message)
	case sglang.KindAborted:
		return status.New(codes.Aborted, "the request was aborted at SGLang")
	case sglang.KindAuth:
		return status.New(codes.Internal, "SGLang refused the proxy's key")
	case sglang.KindRejected:
		return status.New(codes.InvalidArgument, "SGLang refused the request: "+e.Message)
	case sglang.KindTooLong:
		return status.New(codes.ResourceExhausted, "SGLang's answer is too long: "+e.Message)
	case sglang.KindProtocol:
		return status.New(codes.Internal, "SGLang's answer can't be understood: "+e.Message)
	}
	return status.New(codes.Internal, "SGLang failed: "+e.Message)
}

func badRequest(e *FieldError) *status.Status {
	return detailed(codes.InvalidArgument, e.Error(), &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: e.Field, Description: e.Problem}},
	})
}

func retryLater(code codes.Code, after time.Duration, message string) *status.Status {
	return detailed(code, message, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

func detailed(code codes.Code, message string, detail protoadapt.MessageV1) *status.Status {
	s := status.New(code, message)
	if with, err := s.WithDetails(detail); err == nil {
		return with
	}
	return s
}

// RetryAfter returns the delay of a status' RetryInfo, or 0.
func RetryAfter(s *status.Status) time.Duration {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
