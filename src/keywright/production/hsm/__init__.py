"""The keystore in a token: an HSM, or SoftHSM2, behind PKCS#11.

The line's process never loads the token's library. `watchdog` runs a client process of its own (`process`) that alone
has the PIN, and offers what `production.keystore.Keystore` offers: no key, no raw MAC, derivation, encryption or wrap
on a static key.
"""
