package sglang

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestABodyThatNetHTTPMayStillReadIsNotUsedAgain(t *testing.T) {
	b := &body{data: []byte("in use")}
	b.writing.Add(1)
	b.release()
	if string(b.data) != "in use" {
		t.Errorf("it was given up: %q", b.data)
	}
	b.writing.Add(-1)
	b.release()
	if len(b.data) != 0 {
		t.Errorf("it was kept: %q", b.data)
	}
}

func TestTheEndOfWritingIsSeen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body) // all of it first: else the connection is closed, and nobody waits for the end of writing
		_, _ = w.Write(data)
	}))
	defer server.Close()
	c, err := NewClient(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	b := &body{data: []byte(strings.Repeat("x", 300<<10))} // more than any buffer on the way
	got, _, err := c.exchangeBody(t.Context(), http.MethodPost, "/", b)
	if err != nil || string(got) != string(b.data) {
		t.Fatalf("%d bytes came back, error %v", len(got), err)
	}
	for end := time.Now().Add(20 * time.Second); b.writing.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d attempts are still being written", b.writing.Load())
		}
	}
	if !b.sent.Load() {
		t.Error("it counts as not sent")
	}
}

func TestAnAnswerThatComesEarlyLeavesItsBodyAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest) // without reading the body
	}))
	defer server.Close()
	c, err := NewClient(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	for range 20 {
		b := bodies.Get().(*body)
		b.data = append(b.data, strings.Repeat("x", 1<<20)...)
		if _, _, err := c.exchangeBody(t.Context(), http.MethodPost, "/", b); err == nil {
			t.Fatal("no error")
		}
		if b.writing.Load() == 0 {
			clear(b.data) // under -race: net/http must not be reading it
		}
		b.release()
	}
}
