// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBadInputInWords: the status says that the input is bad, so the words are about what is wrong with it.
func TestBadInputInWords(t *testing.T) {
	for _, err := range []error{fmt.Errorf("port: say which: %w", ErrBadInput), errors.Join(ErrBadInput, errors.New("port: say which"))} {
		w := httptest.NewRecorder()
		if fail(w, err); w.Code != 400 || !strings.Contains(w.Body.String(), `"message":"port: say which"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}
