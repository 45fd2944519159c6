// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"
)

// bcryptCost makes one guess cost about 50 ms of one core.
const bcryptCost = 10

// hashing bounds how many hashes are computed at once, so that a storm of logins leaves cores to everybody else.
var hashing = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// reduce makes a password of any length 44 bytes, because bcrypt reads only the first 72 and stops at a NUL.
func reduce(password string) []byte {
	sum := sha256.Sum256([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

func hashPassword(password string, cost int) (string, error) {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	h, err := bcrypt.GenerateFromPassword(reduce(password), cost)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return string(h), nil
}

// samePassword takes equally long whether or not there is a hash, so that timing tells nobody which users exist. The caller
// holds a slot.
func samePassword(hash, password, decoy string) bool {
	known := hash != ""
	if !known {
		hash = decoy
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), reduce(password)) == nil && known
}

// slot waits for a turn at hashing; release ends it.
func slot(ctx context.Context) (release func(), err error) {
	select {
	case hashing <- struct{}{}:
		return func() { <-hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
