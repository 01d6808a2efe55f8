package sglang

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// item is one element of the answer to a list: an answer, or with the Rust
// server an error of its own.
type item struct {
	Answer
	Error *itemError `json:"error"`
}

type itemError struct {
	Message string          `json:"message"`
	Code    json.RawMessage `json:"code"`
}

// decodeResults reads the answer to a list. The elements come in the order of
// the requests; each names its rid, and if the order should differ the rid
// decides.
func decodeResults(data []byte, requests []Request) ([]Result, error) {
	items, err := decodeItems(data, requests)
	if err != nil {
		return nil, protocolError("the answer is not the expected list")
	}
	if len(items) != len(requests) {
		return nil, protocolError(fmt.Sprintf("the answer holds %d elements for %d requests", len(items), len(requests)))
	}
	places, err := placesOf(items, requests)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(requests))
	for i := range items {
		results[places[i]] = items[i].result()
	}
	return results, nil
}

// decodeItems reads the elements of a list, in one pass where SGLang wrote it as it
// mostly does.
func decodeItems(data []byte, requests []Request) ([]item, error) {
	if items, ok := scanItems(data, requests); ok {
		return items, nil
	}
	return unmarshalItems(data, requests)
}

func unmarshalItems(data []byte, requests []Request) (items []item, err error) {
	if !anyKeepsRaw(requests) {
		return items, json.Unmarshal(data, &items)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	items = make([]item, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &items[i]); err != nil {
			return nil, err
		}
		items[i].Raw = raw[i]
	}
	return items, nil
}

func anyKeepsRaw(requests []Request) bool {
	return slices.ContainsFunc(requests, func(r Request) bool { return r.KeepRaw })
}

// placesOf says to which request each element belongs. An element that failed
// names no rid and belongs to the request at its own place.
func placesOf(items []item, requests []Request) ([]int, error) {
	places := make([]int, len(items))
	inOrder := true
	for i, it := range items {
		places[i] = i
		inOrder = inOrder && (it.Error != nil || it.Meta.ID == requests[i].RID)
	}
	if inOrder {
		return places, nil
	}
	byRID := make(map[string]int, len(requests))
	for i, r := range requests {
		byRID[r.RID] = i
	}
	for i, it := range items {
		place, known := byRID[it.Meta.ID]
		if !known {
			return nil, protocolError(fmt.Sprintf("element %d of the answer names none of the rids sent, or one twice", i))
		}
		delete(byRID, it.Meta.ID)
		places[i] = place
	}
	return places, nil
}

func (it item) result() Result {
	if it.Error != nil {
		status := statusOf(it.Error.Code)
		return Result{Err: &Error{Where: generateWhere, Status: status, Kind: kindOf(status), Message: safe(it.Error.Message)}}
	}
	if f := it.Meta.FinishReason; f != nil && f.Type == "abort" {
		return Result{Answer: it.Answer, Err: abortError(f)}
	}
	return Result{Answer: it.Answer}
}

// abortError is the error of an element that the server gave up: with a status
// for a cause of its own, without one because it was told to.
func abortError(f *FinishReason) *Error {
	e := &Error{Where: generateWhere, Status: http.StatusOK, Kind: KindAborted, Message: safe(f.Message)}
	if status := statusOf(f.StatusCode); len(f.StatusCode) > 0 && string(f.StatusCode) != "null" {
		e.Status, e.Kind = status, kindOf(status)
	}
	return e
}

// statusOf reads a status that may be a number or a string; anything else is a
// server's fault.
func statusOf(raw json.RawMessage) int {
	text := string(raw)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	if status, err := strconv.Atoi(text); err == nil && status >= 400 && status < 600 {
		return status
	}
	return http.StatusInternalServerError
}

func protocolError(message string) *Error {
	return &Error{Where: generateWhere, Status: http.StatusOK, Kind: KindProtocol, Message: message}
}
