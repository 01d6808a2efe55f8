package sglang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// The server closes a connection that was idle for 5 s (uvicorn's default,
	// measured). Closing it earlier avoids most sends on a closing connection. send
	// repeats the others.
	idleTimeout = 4 * time.Second
	dialTimeout = 5 * time.Second
)

// Dial opens a connection to host:port.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Transport returns a transport with settings for SGLang. dial opens its connections; nil
// dials TCP. It limits neither connections nor the time to an answer: the batcher limits the
// batches in flight, and contexts end calls.
func Transport(dial Dial) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConns:        0,    // no limit
		MaxIdleConnsPerHost: 4096, // the default of 2 would dial again for nearly every call
		DisableCompression:  true, // answers are small, and loopback is not the bottleneck
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      16 << 10,
	}
}

// exchange sends one request and reads its whole answer. Any status but 200 is an
// *Error.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte) ([]byte, http.Header, error) {
	where := whereOf(method, path)
	res, sent, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, nil, transportError(ctx, where, sent, err)
	}
	defer res.Body.Close() //nolint:errcheck // the body has been read, or its error is reported
	data, err := c.readAll(ctx, where, res)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, nil, errorFromBody(where, res.StatusCode, data)
	}
	return data, res.Header, nil
}

// send sends a request. It sends it again if it was lost on a kept-alive connection that
// the server was closing: prefill, abort and flush are safe to repeat. It never repeats a
// request that failed on a new connection, so the loop ends.
//
// net/http repeats a request that is lost while it reads (newRequest marks the request as
// repeatable). It does not if the connection is reset while it writes the body (Go 1.26,
// persistConn.shouldRetryRequest). With a batch of 256 KiB that is about every second
// time.
//
// sent says whether part of the request may have reached the server.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (res *http.Response, sent bool, err error) {
	var wrote atomic.Bool // atomic: the hooks run on net/http's goroutines
	for {
		var kept, answered atomic.Bool
		req, err := c.newRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn:              func(string) { kept.Store(false) },
			GotConn:              func(i httptrace.GotConnInfo) { kept.Store(i.Reused) },
			GotFirstResponseByte: func() { answered.Store(true) },
			WroteHeaders:         func() { wrote.Store(true) },
		}), method, path, body)
		if err != nil {
			return nil, wrote.Load(), err
		}
		res, err := c.client.Do(req)
		if err == nil || !kept.Load() || answered.Load() || ctx.Err() != nil {
			return res, wrote.Load(), err
		}
	}
}

func (c *Client) newRequest(ctx context.Context, method, path string, data []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if data != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	// A nil value is not sent. It tells net/http that the request is safe to repeat.
	req.Header["Idempotency-Key"] = nil
	if c.header != nil {
		c.header(ctx, req.Header)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// trustedLength is the max bytes of an announced length that are allocated before they
// arrive.
const trustedLength = 1 << 20

func (c *Client) readAll(ctx context.Context, where string, res *http.Response) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, res.ContentLength), trustedLength)))
	_, err := data.ReadFrom(io.LimitReader(res.Body, c.limit+1))
	switch {
	case err != nil:
		return nil, transportError(ctx, where, true, fmt.Errorf("the answer was cut short: %w", err))
	case int64(data.Len()) > c.limit:
		message := fmt.Sprintf("the answer is longer than %d bytes", c.limit)
		return nil, &Error{Where: where, Status: res.StatusCode, Kind: KindTooLong, Message: message}
	}
	return data.Bytes(), nil
}

// transportError returns the error of a call without a complete answer.
func transportError(ctx context.Context, where string, sent bool, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sglang: %s: %w", where, ctx.Err())
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which may hold a secret
	}
	return &Error{Where: where, Kind: KindUnreachable, Message: err.Error(), Sent: sent, cause: err}
}

// whereOf returns the name of a call in errors, without the query.
func whereOf(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	return method + " " + path
}

const jsonType = "application/json"

// wantJSON checks the media type of an answer.
func wantJSON(where string, h http.Header) error {
	got := h.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(got); err == nil && kind == jsonType {
		return nil
	}
	return protocolError(where, fmt.Sprintf("the answer's content type is %.60q, expected %s", got, jsonType))
}

// tolerant makes json/v2 read what encoding/json does, but names must match in case.
var tolerant = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
