package compat

import (
	"net/http"
	"strings"
	"testing"
)

func TestAFormIsCheckedAndPassedOnAsItCame(t *testing.T) {
	b := newBehind(t, Options{})
	part := func(disposition, value string) string {
		return "--x\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
	}
	const kind = "multipart/form-data; boundary=x"
	file := part(`name="file"; filename="a%22 *.wav"; filename*=utf-8''a.wav`, "RIFF\x00\xff")
	body := file + part(`name="model"`, "m") + part(`name="temperature"`, "0.5") + part(`name="new"`, "x") +
		part(`name="timestamp_granularities[]"`, "word") + part(`name="timestamp_granularities[]"`, "segment") + "--x--\r\n"
	if w := b.send(formPath, body, "Content-Type", kind); w.Code != http.StatusOK || string(b.last) != body {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	before := b.reached.Load()
	for _, wrong := range []string{
		part(`name="temperature"`, "1e39"), part(`name="temperature"`, "nan"), part(`name="temperature"`, "inf"),
		part(`name="temperature"`, "-1"),
		part(`name="temperature"`, "x"), part(`name="temperature"`, "1") + part(`name="temperature"`, "2"),
		part(`name="model"`, strings.Repeat("m", maxWord+1)),
		part(`name*=utf-8''temperature`, "1e39"), part(`name="temp\erature"`, "1e39"),
	} {
		if w := b.send(formPath, file+wrong+"--x--\r\n", "Content-Type", kind); w.Code != http.StatusBadRequest {
			t.Errorf("%.100q: %d", wrong, w.Code)
		}
	}
	if w := b.send(formPath, `{"temperature":1e39}`); w.Code != http.StatusBadRequest {
		t.Errorf("JSON: %d", w.Code)
	}
	if b.reached.Load() != before {
		t.Error("something reached SGLang")
	}
}

func TestACompletionWithoutItsContentTypeSaysSo(t *testing.T) {
	b := newBehind(t, Options{})
	for _, kind := range []string{"", "application/x-www-form-urlencoded"} {
		w := b.send("/v1/completions", `{"model":"tiny","prompt":"a"}`, "Content-Type", kind)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "Content-Type: must be application/json") {
			t.Errorf("%q: %d %s", kind, w.Code, w.Body)
		}
	}
	const kind = "Application/JSON; charset=utf-8"
	if w := b.send("/v1/completions", `{"model":"tiny","prompt":"a"}`, "Content-Type", kind); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
