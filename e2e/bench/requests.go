// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// apiRequest is a kind of request to the API server.
type apiRequest struct{ verb, resource, subresource string }

// What an assignment may cost.
var (
	statusWrite = apiRequest{"PATCH", "services", "status"}
	eventWrite  = apiRequest{"POST", "events", ""}
	poolWrite   = apiRequest{"PATCH", "ipaddresspools", "status"}
)

// requests returns how many requests the API server has answered since its start.
func (e *environment) requests(ctx context.Context) (map[apiRequest]int, error) {
	text, err := e.api.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the API server's metrics: %w", err)
	}
	return parseRequests(text)
}

// parseRequests adds up apiserver_request_total over what no request names: the
// answer's code, the version of the API and so on.
func parseRequests(text []byte) (map[apiRequest]int, error) {
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	counts := map[apiRequest]int{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(line, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("read the API server's metrics: line %q: %w", lines.Text(), err)
		}
		named := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(labels, -1) {
			named[pair[1]] = pair[2]
		}
		counts[apiRequest{named["verb"], named["resource"], named["subresource"]}] += int(n)
	}
	return counts, lines.Err()
}

// awaitQuiet returns once nobody has written an Event for two seconds: the controller
// writes them after everything else.
func (e *environment) awaitQuiet(ctx context.Context) error {
	const calm = 4
	for last, same := -1, 0; same < calm; {
		now, err := e.requests(ctx)
		if err != nil {
			return err
		}
		if same++; now[eventWrite] != last {
			last, same = now[eventWrite], 0
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
