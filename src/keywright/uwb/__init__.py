"""UWB secure ranging: the key ladder, frames, rounds and sessions of CCC and Aliro, and FiRa's UCI packets."""
