package sglang

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// streamed is the events of a list of two, and each of them is one line.
func streamed(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

func indexed(i int, element string) string {
	return fmt.Sprintf(`%s,"index":%d}`, strings.TrimSuffix(element, "}"), i)
}

// generateEach returns what came for each request: its tokens, or its error.
func generateEach(ctx context.Context, c *Client) (got map[int]Result, err error) {
	got = map[int]Result{}
	err = c.GenerateEach(ctx, two(), func(i int, r Result) { got[i] = r })
	return got, err
}

func TestAStreamGivesEachRequestItsAnswer(t *testing.T) {
	begun := `{"text":"","output_ids":[],"meta_info":{"id":"aa","finish_reason":null,"prompt_tokens":11},"index":0}`
	for name, body := range map[string]string{
		"in order":      streamed(indexed(0, element("aa", 11)), indexed(1, element("bb", 22)), "[DONE]"),
		"last first":    streamed(indexed(1, element("bb", 22)), indexed(0, element("aa", 11)), "[DONE]"),
		"step by step":  streamed(begun, indexed(1, element("bb", 22)), indexed(0, element("aa", 11)), "[DONE]"),
		"with comments": ": hello\nevent: x\r\n\r\n" + streamed(indexed(0, element("aa", 11)), indexed(1, element("bb", 22)), "[DONE]"),
		"without space": strings.ReplaceAll(streamed(indexed(0, element("aa", 11)), indexed(1, element("bb", 22)), "[DONE]"), "data: ", "data:"),
		"and then more": streamed(indexed(0, element("aa", 11)), indexed(1, element("bb", 22)), "[DONE]", "nonsense"),
	} {
		got, err := generateEach(t.Context(), serve(t, answer(200, "text/event-stream; charset=utf-8", body)))
		if err != nil || len(got) != 2 || got[0].Answer.Meta.PromptTokens != 11 || got[1].Answer.Meta.PromptTokens != 22 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestWhatAStreamLacksIsAnError(t *testing.T) {
	first := indexed(0, element("aa", 11))
	for name, c := range map[string]struct {
		body string
		kind Kind
		got  int // answers before
	}{
		"an end":                 {streamed(first, indexed(1, element("bb", 2))), KindUnreachable, 2},
		"the rest of an event":   {"data: {", KindUnreachable, 0},
		"an answer":              {streamed(first, "[DONE]"), KindProtocol, 1},
		"an answer of its own":   {streamed(first, first, "[DONE]"), KindProtocol, 1},
		"a rid that was sent":    {streamed(first, indexed(1, element("zz", 2))), KindProtocol, 1},
		"a place in the list":    {streamed(first, indexed(2, element("bb", 2))), KindProtocol, 1},
		"an index":               {streamed(first, element("bb", 2)), KindProtocol, 1},
		"JSON":                   {streamed(first, "hello"), KindProtocol, 1},
		"everything":             {"", KindUnreachable, 0},
		"sense: it was refused":  {streamed(`{"error":{"message":"too long","code":400}}`, "[DONE]"), KindRejected, 0},
		"sense: it is too much":  {streamed(first, `{"error":{"message":"full","code":503}}`, "[DONE]"), KindBusy, 1},
		"sense: it broke midway": {streamed(first, `{"error":{"message":"oh"}}`), KindServer, 1},
	} {
		got, err := generateEach(t.Context(), serve(t, answer(200, "text/event-stream", c.body)))
		var e *Error
		if !errors.As(err, &e) || e.Kind != c.kind || len(got) != c.got {
			t.Errorf("%s: %d answers, %v", name, len(got), err)
		}
	}
}

func TestAStreamThatIsNoneIsAnError(t *testing.T) {
	for status, want := range map[int]Kind{200: KindProtocol, 400: KindRejected, 500: KindServer, 503: KindBusy} {
		_, err := generateEach(t.Context(), serve(t, answer(status, "application/json", "["+element("aa", 1)+","+element("bb", 1)+"]")))
		var e *Error
		if !errors.As(err, &e) || e.Kind != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestItemsOfAStreamFailByThemselves(t *testing.T) {
	aborted := `{"text":"","output_ids":[],"meta_info":{"id":"bb","finish_reason":{"type":"abort","status_code":503}},"index":1}`
	for second, kind := range map[string]Kind{aborted: KindBusy, `{"error":{"message":"too long","code":400},"index":1}`: KindRejected} {
		got, err := generateEach(t.Context(), serve(t, answer(200, "text/event-stream", streamed(second, indexed(0, element("aa", 11)),
			"[DONE]"))))
		var e *Error
		if err != nil || got[0].Err != nil || !errors.As(got[1].Err, &e) || e.Kind != kind {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestAStreamBeyondTheLimitIsNotRead(t *testing.T) {
	c := serve(t, answer(200, "text/event-stream", streamed(indexed(0, element("aa", 11)))+strings.Repeat(": \n", 4096)))
	c.limit = 1000
	_, err := generateEach(t.Context(), c)
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindTooLong {
		t.Errorf("got %v", err)
	}
}

// slowly answers byte for byte, until the client hangs up.
func slowly(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", contentType)
		for _, b := range []byte(body) {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func TestASlowAnswerIsReadAndItsEndNotWaitedForForEver(t *testing.T) {
	list := "[" + element("aa", 1) + "," + element("bb", 1) + "]"
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := serve(t, slowly("application/json", list)).Generate(ctx, two()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a list without an end: %v", err)
	}
	events := streamed(indexed(0, element("aa", 11)), indexed(1, element("bb", 22)), "[DONE]")
	if got, err := generateEach(t.Context(), serve(t, slowly("text/event-stream", events))); err != nil || len(got) != 2 {
		t.Errorf("a stream with an end mark: %+v, %v", got, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := generateEach(ctx, serve(t, slowly("text/event-stream", events[:len(events)-3]))); !errors.Is(err,
		context.DeadlineExceeded) || len(got) != 2 {
		t.Errorf("a stream without one: %d answers, %v", len(got), err)
	}
}
