package sglang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// Options are the options of a Client; the zero value is useful.
type Options struct {
	APIKey           string // sent as a bearer token; "" sends none
	MaxResponseBytes int64  // longest answer that is read; 0 means 64 MiB

	// Header, where not nil, adds to the headers of each request what its context
	// has to say, such as a trace.
	Header func(context.Context, http.Header)
}

const defaultMaxResponseBytes = 64 << 20

// Client talks to one SGLang server. It is safe for concurrent use. Its errors
// are *Error, or the context's error when the context ended first.
type Client struct {
	base   string // without a trailing slash
	key    string
	header func(context.Context, http.Header)
	limit  int64
	client *http.Client
}

// NewClient returns a client of the server at baseURL (http://host:port, and a
// path if the server stands under one). It sends nothing yet.
func NewClient(baseURL string, o Options) (*Client, error) {
	base, err := parseBase(baseURL)
	switch {
	case err != nil:
		return nil, err
	case strings.ContainsFunc(o.APIKey, unicode.IsControl): // HTTP refuses it, call by call
		return nil, errors.New("API key: holds a control character, such as a line's end")
	case o.MaxResponseBytes < 0:
		return nil, fmt.Errorf("longest answer: must not be negative, got %d bytes", o.MaxResponseBytes)
	case o.MaxResponseBytes == 0:
		o.MaxResponseBytes = defaultMaxResponseBytes
	}
	return &Client{
		base:   base,
		key:    o.APIKey,
		header: o.Header,
		limit:  o.MaxResponseBytes,
		client: &http.Client{Transport: transport(), CheckRedirect: noRedirect},
	}, nil
}

// parseBase checks a base URL. Its errors quote no URL that may hold a password.
func parseBase(s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", errors.New("URL: holds credentials (an @): give the key apart from it")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("URL %q: not a URL: expected http://host:port", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("URL %q: expected it to begin with http:// or https://", s)
	case u.Hostname() == "":
		return "", fmt.Errorf("URL %q: names no host: expected http://host:port", s)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("URL %q: expected nothing after the path", s)
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// URL is the base URL, without credentials.
func (c *Client) URL() string { return c.base }

// CloseIdle closes the connections that carry nothing.
func (c *Client) CloseIdle() { c.client.CloseIdleConnections() }

// exchange sends one request and reads its whole answer; any status but 200 is
// an *Error.
func (c *Client) exchange(ctx context.Context, method, path string, data []byte) ([]byte, http.Header, error) {
	return c.transfer(ctx, method, path, &body{data: data})
}

// transfer is exchange with a body that the caller keeps.
func (c *Client) transfer(ctx context.Context, method, path string, b *body) ([]byte, http.Header, error) {
	where := method + " " + pathOnly(path)
	res, err := c.open(ctx, method, path, b)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // the body has been read, or its error is reported
	data, err := c.readAll(ctx, where, res)
	return data, res.Header, err
}

// open sends one request and returns its answer with a status of 200, whose body
// is to be closed.
func (c *Client) open(ctx context.Context, method, path string, b *body) (*http.Response, error) {
	where := method + " " + pathOnly(path)
	res, err := c.send(ctx, b, func(ctx context.Context) (*http.Request, error) {
		return c.newRequest(ctx, method, path, b.data)
	})
	if err != nil {
		return nil, transportError(ctx, where, b.sent.Load(), err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // as above
	data, err := c.readAll(ctx, where, res)
	if err != nil {
		return nil, err
	}
	return nil, errorFromBody(where, res.StatusCode, data)
}

// trustedLength is how much of the length that a server announces is set aside before
// it sends, bytes.
const trustedLength = 1 << 20

func (c *Client) readAll(ctx context.Context, where string, res *http.Response) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(0, res.ContentLength), trustedLength)))
	_, err := data.ReadFrom(io.LimitReader(res.Body, c.limit+1))
	switch {
	case err != nil:
		return nil, cutShort(ctx, where, err)
	case int64(data.Len()) > c.limit:
		return nil, c.tooLong(where, res.StatusCode)
	}
	return data.Bytes(), nil
}

func cutShort(ctx context.Context, where string, err error) error {
	return transportError(ctx, where, true, fmt.Errorf("the answer was cut short: %w", err))
}

func (c *Client) tooLong(where string, status int) *Error {
	return &Error{Where: where, Status: status, Kind: KindTooLong, Message: fmt.Sprintf("the answer is longer than %d bytes", c.limit)}
}

func (c *Client) newRequest(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	// A nil value is not sent; it tells net/http that repeating is safe: see send.
	req.Header["Idempotency-Key"] = nil
	if c.header != nil {
		c.header(ctx, req.Header)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// transportError is the error of a call that brought no whole answer.
func transportError(ctx context.Context, where string, sent bool, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sglang: %s: %w", where, ctx.Err())
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL is known, and may hold more than it should
	}
	return &Error{Where: where, Kind: KindUnreachable, Message: err.Error(), Sent: sent, cause: err}
}

// getJSON reads a JSON document into v.
func (c *Client) getJSON(ctx context.Context, path string, v any) error {
	data, header, err := c.exchange(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	where := "GET " + pathOnly(path)
	if err := wantType(jsonType, where, header); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: "the answer is not the expected JSON"}
	}
	return nil
}

// The media types of answers.
const (
	jsonType  = "application/json"
	eventType = "text/event-stream"
)

func wantType(want, where string, h http.Header) error {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err == nil && kind == want {
		return nil
	}
	return &Error{Where: where, Status: http.StatusOK, Kind: KindProtocol, Message: fmt.Sprintf("the answer's content type is %.60q, expected %s", h.Get("Content-Type"), want)}
}

func pathOnly(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}
