package sglang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// FlushCache empties the prefix cache. The server refuses while anything runs:
// it waits up to timeout (0: not at all) for that to end, and the error is then
// of KindBusy.
func (c *Client) FlushCache(ctx context.Context, timeout time.Duration) error {
	path := "/flush_cache"
	if timeout > 0 {
		path += "?timeout=" + strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64)
	}
	_, _, err := c.exchange(ctx, http.MethodPost, path, nil)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
		refused.Kind = KindBusy
	}
	return err
}

// Abort ends the work for one request id. The server answers 200 whether it
// knows the id or not, and it aborts every id that begins with rid.
func (c *Client) Abort(ctx context.Context, rid string) error {
	if rid == "" {
		return errors.New("sglang: abort: empty rid would abort everything")
	}
	body, err := json.Marshal(map[string]string{"rid": rid})
	if err != nil {
		return fmt.Errorf("sglang: abort: %w", err)
	}
	_, _, err = c.exchange(ctx, http.MethodPost, "/abort_request", body)
	return err
}
