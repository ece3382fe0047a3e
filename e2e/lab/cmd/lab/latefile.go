// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// lateFile is a file whose place is known only after the first lines have been
// written to it. Until then it keeps them.
type lateFile struct {
	mu      sync.Mutex // guards both
	waiting bytes.Buffer
	file    *os.File
}

// Write implements io.Writer.
func (f *lateFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return f.waiting.Write(p)
	}
	return f.file.Write(p)
}

func (f *lateFile) open(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.file = file
	_, err = f.waiting.WriteTo(file)
	return err
}
